//! How far back a compressed message refers: RFC 1951 read bit by bit, for messages that are known to be right.

/// A code by lengths: how many symbols have each length, and the symbols in the order of their codes (section 3.2.2).
struct Code {
    counts: [usize; 16],
    symbols: Vec<usize>,
}

impl Code {
    fn new(lengths: &[u8]) -> Self {
        let mut counts = [0; 16];
        lengths.iter().for_each(|len| counts[usize::from(*len)] += 1);
        counts[0] = 0;
        let mut symbols: Vec<usize> = (0..lengths.len()).filter(|symbol| lengths[*symbol] > 0).collect();
        symbols.sort_by_key(|symbol| lengths[*symbol]);
        Self { counts, symbols }
    }
}

struct Bits<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> usize {
        (0..count).map(|place| self.bit() << place).sum()
    }

    fn bit(&mut self) -> usize {
        let bit = self.bytes[self.at / 8] >> (self.at % 8) & 1;
        self.at += 1;
        usize::from(bit)
    }

    fn symbol(&mut self, code: &Code) -> usize {
        let (mut value, mut first, mut index) = (0, 0, 0);
        for count in &code.counts[1..] {
            value |= self.bit();
            if value < first + count {
                return code.symbols[index + value - first];
            }
            index += count;
            first = (first + count) << 1;
            value <<= 1;
        }
        panic!("no code is longer than 15 bits")
    }
}

/// The greatest distance in a compressed message, 0 if nothing is referred to.
///
/// # Panics
/// When the message is no deflate stream.
#[must_use]
pub fn farthest(payload: &[u8]) -> usize {
    // The empty block that was cut off, whose header may have begun in the last byte.
    let bytes = [payload, &[0, 0, 0xff, 0xff]].concat();
    let mut bits = Bits { bytes: &bytes, at: 0 };
    let mut farthest = 0;
    while bits.at < 8 * payload.len() {
        let is_final = bits.bit() == 1;
        farthest = farthest.max(match bits.take(2) {
            0 => skip_stored(&mut bits),
            1 => {
                let lengths: Vec<u8> = [(8, 144), (9, 112), (7, 24), (8, 8)]
                    .iter()
                    .flat_map(|(len, count)| std::iter::repeat_n(*len, *count))
                    .collect();
                read_block(&mut bits, &Code::new(&lengths), &Code::new(&[5; 30]))
            }
            2 => {
                let (literals, distances) = read_codes(&mut bits);
                read_block(&mut bits, &literals, &distances)
            }
            _ => panic!("a block of no kind"),
        });
        assert!(!is_final, "the server ends no stream");
    }
    farthest
}

fn skip_stored(bits: &mut Bits<'_>) -> usize {
    bits.at = bits.at.next_multiple_of(8);
    let len = bits.take(16);
    bits.at += 16 + 8 * len;
    0
}

/// The codes of a block with codes of its own (section 3.2.7).
fn read_codes(bits: &mut Bits<'_>) -> (Code, Code) {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    let (literals, distances, used) = (bits.take(5) + 257, bits.take(5) + 1, bits.take(4) + 4);
    let mut lengths = [0; 19];
    for place in &ORDER[..used] {
        lengths[*place] = bits.take(3) as u8;
    }
    let code = Code::new(&lengths);
    let mut lengths: Vec<u8> = Vec::new();
    while lengths.len() < literals + distances {
        let (len, times) = match bits.symbol(&code) {
            16 => (*lengths.last().expect("something to repeat"), 3 + bits.take(2)),
            17 => (0, 3 + bits.take(3)),
            18 => (0, 11 + bits.take(7)),
            len => (len as u8, 1),
        };
        lengths.extend(std::iter::repeat_n(len, times));
    }
    (Code::new(&lengths[..literals]), Code::new(&lengths[literals..]))
}

/// Literals and references up to the end of a block (sections 3.2.3 and 3.2.5).
fn read_block(bits: &mut Bits<'_>, literals: &Code, distances: &Code) -> usize {
    let mut farthest = 0;
    loop {
        match bits.symbol(literals) {
            0..256 => continue,
            256 => return farthest,
            // How long a match is does not matter here, only how many bits tell it.
            257..265 | 285 => {}
            length => {
                bits.take((length - 261) / 4);
            }
        }
        let symbol = bits.symbol(distances);
        let extra = (symbol / 2).saturating_sub(1);
        let base = if symbol < 4 { symbol + 1 } else { ((2 + symbol % 2) << extra) + 1 };
        farthest = farthest.max(base + bits.take(extra));
    }
}
