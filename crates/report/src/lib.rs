//! A profile in, a picture or a file out.
