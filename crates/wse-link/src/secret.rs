//! The proof that a node knows the secret of the cluster. `spec/cluster/links.md`, "The opening".

use aws_lc_rs::hmac;
use wse_core::options::Secret;

use crate::tls::Role;

/// Bytes of a nonce, and of a proof.
pub const LENGTH: usize = 32;

const LABEL: &[u8] = b"wse link 1";

/// What both sides of an opening know before they sign.
#[derive(Clone, Copy, Debug)]
pub struct Meeting<'a> {
    /// Nodes of another cluster may have the same secret by mistake.
    pub cluster_name: &'a str,
    /// Drawn by the dialler for this connection.
    pub dialler_nonce: &'a [u8; LENGTH],
    /// Drawn by the acceptor for this connection.
    pub acceptor_nonce: &'a [u8; LENGTH],
    /// With TLS: what its two ends export.
    pub export: Option<&'a [u8; LENGTH]>,
}

impl Meeting<'_> {
    /// What the side of this role says to prove that it knows the secret.
    ///
    /// # Panics
    /// Never: the length of a tag of SHA-256 is 32.
    #[must_use]
    pub fn proof(&self, secret: &Secret, role: Role) -> [u8; LENGTH] {
        let tag = hmac::sign(&key(secret), &self.text(role));
        tag.as_ref().try_into().expect("SHA-256 makes 32 bytes")
    }

    /// Whether the side of this role has proven it, in a time that does not depend on where a wrong proof differs.
    #[must_use]
    pub fn is_proven(&self, secret: &Secret, role: Role, proof: &[u8]) -> bool {
        hmac::verify(&key(secret), &self.text(role), proof).is_ok()
    }

    /// Every part but the last has one length or its length in front, so two meetings never have one text.
    fn text(&self, role: Role) -> Vec<u8> {
        let mut text = Vec::with_capacity(128 + self.cluster_name.len());
        text.extend_from_slice(LABEL);
        text.push(role as u8);
        text.extend_from_slice(&(self.cluster_name.len() as u64).to_le_bytes());
        text.extend_from_slice(self.cluster_name.as_bytes());
        text.extend_from_slice(self.dialler_nonce);
        text.extend_from_slice(self.acceptor_nonce);
        if let Some(export) = self.export {
            text.extend_from_slice(export);
        }
        text
    }
}

fn key(secret: &Secret) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.expose())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes())
    }

    #[test]
    fn a_proof_is_good_for_its_meeting_its_role_and_its_secret_alone() {
        let (a, b, c) = ([1; LENGTH], [2; LENGTH], [3; LENGTH]);
        let meeting = |cluster_name, dialler_nonce, acceptor_nonce, export| Meeting {
            cluster_name,
            dialler_nonce,
            acceptor_nonce,
            export,
        };
        let this = meeting("wse", &a, &b, None);
        let key = secret("between us");
        let proof = this.proof(&key, Role::Dialler);
        assert!(this.is_proven(&key, Role::Dialler, &proof));
        assert!(!this.is_proven(&key, Role::Acceptor, &proof), "reflected");
        assert!(!this.is_proven(&secret("between ux"), Role::Dialler, &proof));
        for other in [
            meeting("wsf", &a, &b, None),
            meeting("wse", &b, &a, None),
            meeting("wse", &a, &c, None),
            meeting("wse", &c, &b, None),
            meeting("wse", &a, &b, Some(&c)),
        ] {
            assert!(!other.is_proven(&key, Role::Dialler, &proof), "{other:?}");
        }
        for cut in 0..LENGTH {
            assert!(!this.is_proven(&key, Role::Dialler, &proof[..cut]));
            let mut spoilt = proof;
            spoilt[cut] ^= 0x10;
            assert!(!this.is_proven(&key, Role::Dialler, &spoilt));
        }
    }

    /// Computed with Python's `hmac` from the words of the specification.
    #[test]
    fn the_proof_is_what_the_specification_says() {
        let meeting = Meeting {
            cluster_name: "wse",
            dialler_nonce: &[1; LENGTH],
            acceptor_nonce: &[2; LENGTH],
            export: Some(&[3; LENGTH]),
        };
        let hex = |bytes: [u8; LENGTH]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(meeting.proof(&secret("between us"), Role::Dialler)), DIALLER);
        assert_eq!(hex(meeting.proof(&secret("between us"), Role::Acceptor)), ACCEPTOR);
    }
    const DIALLER: &str = "bf6b4478ed352ea0d7fe8546ae347e7afe10edfce2f4e972cc37bbb73b4554ba";
    const ACCEPTOR: &str = "60ad1293a3491de548202a9673235a4883fb3ef176fe03cb9a95a86ccc2b3233";
}
