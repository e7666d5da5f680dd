//! permessage-deflate (RFC 7692): what is agreed in the handshake, and messages squeezed and opened again.

pub mod deflater;
pub mod inflater;
pub mod negotiate;
pub mod stored;

pub use deflater::{Deflater, WORTHWHILE_BYTES};
pub use inflater::Inflater;
pub use negotiate::{Agreement, Mode, Window};
pub use stored::StoredBlock;

/// What ends every flushed block, and is left out on the wire (RFC 7692, section 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
