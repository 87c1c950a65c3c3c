//! What the C daemon gets wrong and this one does not.
