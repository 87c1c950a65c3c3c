//! The arguments of a call, taken one by one.

use std::time::Duration;

use mlua::{AnyUserData, Lua, LuaString, MultiValue, UserData, UserDataRefMut, Value};

use crate::error::Failure;

/// Arguments that are still to be taken; each has the type that its taker says, or the call fails.
pub(crate) struct Args<'lua> {
    lua: &'lua Lua,
    call: &'static str,
    values: MultiValue,
    taken: usize,
}

impl<'lua> Args<'lua> {
    pub(crate) fn new(lua: &'lua Lua, call: &'static str, values: MultiValue) -> Self {
        Self {
            lua,
            call,
            values,
            taken: 0,
        }
    }

    fn value(&mut self) -> Value {
        self.taken += 1;
        self.values.pop_front().unwrap_or(Value::Nil)
    }

    /// The next argument as Lua's own functions take strings: numbers are as good.
    pub(crate) fn string(&mut self) -> Result<LuaString, Failure> {
        let value = self.value();
        self.to_string(value, "string")
    }

    fn to_string(&self, value: Value, expected: &str) -> Result<LuaString, Failure> {
        let got = value.type_name();
        match value {
            Value::String(text) => Some(text),
            Value::Integer(_) | Value::Number(_) => self.lua.coerce_string(value)?,
            _ => None,
        }
        .ok_or_else(|| self.wrong(expected, got))
    }

    /// The next argument as a string, or as the strings of a sequence up to its first nil.
    pub(crate) fn strings(&mut self) -> Result<Vec<LuaString>, Failure> {
        self.each_string(|text| text)
    }

    /// As [`strings`](Self::strings), each copied: Lua 5.1 lets Rust hold some 8,000 values at once.
    pub(crate) fn words(&mut self) -> Result<Vec<Vec<u8>>, Failure> {
        self.each_string(|text| text.as_bytes().to_vec())
    }

    /// The next argument as a string, or as a copied sequence of strings, told apart.
    pub(crate) fn line_or_words(&mut self) -> Result<LineOrWords, Failure> {
        match self.values.front() {
            Some(Value::Table(_)) => self.words().map(LineOrWords::Words),
            _ => Ok(LineOrWords::Line(self.string()?.as_bytes().to_vec())),
        }
    }

    fn each_string<T>(&mut self, take: impl Fn(LuaString) -> T) -> Result<Vec<T>, Failure> {
        const EXPECTED: &str = "string or sequence of strings";
        let table = match self.value() {
            Value::Table(table) => table,
            other => return Ok(vec![take(self.to_string(other, EXPECTED)?)]),
        };
        let mut taken = Vec::new();
        for index in 1_i64.. {
            match table.raw_get(index)? {
                Value::Nil => break,
                value => taken.push(take(self.to_string(value, EXPECTED)?)),
            }
        }
        Ok(taken)
    }

    /// The next argument as a whole number that is not negative.
    pub(crate) fn integer(&mut self) -> Result<u64, Failure> {
        /// What a Lua number can count exactly where all numbers are doubles.
        const MAX: f64 = 9_007_199_254_740_992.0;
        match self.value() {
            Value::Integer(n) if n >= 0 => Ok(n.unsigned_abs()),
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "checked"
            )]
            Value::Number(n) if (0.0..=MAX).contains(&n) && n.fract() == 0.0 => Ok(n as u64),
            other => Err(self.wrong("whole number", other.type_name())),
        }
    }

    /// The next argument as milliseconds; nil is none.
    pub(crate) fn milliseconds(&mut self) -> Result<Option<Duration>, Failure> {
        match self.values.front() {
            None | Some(Value::Nil) => {
                self.value();
                Ok(None)
            }
            Some(_) => self.integer().map(|ms| Some(Duration::from_millis(ms))),
        }
    }

    /// The next argument as an object of ours, which is what a method's `self` is.
    pub(crate) fn object<T: UserData + 'static>(&mut self) -> Result<Object<T>, Failure> {
        match self.value() {
            Value::UserData(userdata) if userdata.is::<T>() => Ok(Object {
                userdata,
                marker: std::marker::PhantomData,
            }),
            other => Err(self.wrong("the object itself", other.type_name())),
        }
    }

    fn wrong(&self, expected: &str, got: &str) -> Failure {
        let (taken, call) = (self.taken, self.call);
        Failure::misuse(format!(
            "bad argument #{taken} to '{call}' ({expected} expected, got {got})"
        ))
    }
}

/// A command, as Lua gives it.
pub(crate) enum LineOrWords {
    Line(Vec<u8>),
    Words(Vec<Vec<u8>>),
}

/// A userdata that is known to hold a `T`.
pub(crate) struct Object<T> {
    userdata: AnyUserData,
    marker: std::marker::PhantomData<T>,
}

impl<T: UserData + 'static> Object<T> {
    pub(crate) fn borrow(&self) -> Result<UserDataRefMut<T>, Failure> {
        Ok(self.userdata.borrow_mut()?)
    }
}
