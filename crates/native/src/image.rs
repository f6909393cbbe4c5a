//! Object files: what their headers say, checked once.

mod budget;
mod build_id;
mod bytes;
mod code;
mod compressed;
mod error;
mod headers;
mod layout;
mod notes;
mod section;

pub use build_id::BuildId;
pub(crate) use bytes::Part;
pub use bytes::{FileIdentity, ObjectBytes, ObjectSource};
pub(crate) use code::Code;
pub(crate) use compressed::{Unpacker, unpack_xz};
pub use error::ImageError;
pub use layout::Image;
pub(crate) use section::{Section, SectionName, Stub};
