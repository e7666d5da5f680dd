//! Keys, read once when the server is made, with an error that tells what to do.

use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER as CRYPTO;
use jsonwebtoken::{DecodingKey, EncodingKey};

use super::{Algorithm, base64url};

/// RFC 7518 section 3.2: an HS256 key is at least as long as the hash. A shorter one can be guessed from one token.
const MIN_SECRET_LEN: usize = 32;

/// How the PEM body of every uncompressed P-256 public key begins: its DER is of fixed length up to the point, and
/// those 27 bytes are 36 characters. Other curves share the key type, but begin differently.
const P256_PUBLIC_KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE";

/// A key option that can't be used. Says which one and what is allowed, never anything of the key but its size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{option} {problem}")]
pub struct KeyError {
    /// `jwt_secret`, `jwt_previous_secret` or `jwt_private_key`.
    pub option: &'static str,
    /// What is wrong and what is allowed.
    pub problem: String,
}

/// The key that checks signatures: the secret itself, or a PEM public key.
pub(super) fn verifying_key(
    option: &'static str,
    algorithm: Algorithm,
    key: &[u8],
) -> Result<DecodingKey, KeyError> {
    let fail = |problem: String| KeyError { option, problem };
    if algorithm.is_symmetric() {
        check_secret(key).map_err(fail)?;
        return Ok(DecodingKey::from_secret(key));
    }
    public_key(algorithm, key).map_err(fail)
}

/// The key that makes signatures: the secret itself, or a PEM private key.
pub(super) fn signing_key(
    option: &'static str,
    algorithm: Algorithm,
    key: &[u8],
) -> Result<EncodingKey, KeyError> {
    let fail = |problem: String| KeyError { option, problem };
    if algorithm.is_symmetric() {
        check_secret(key).map_err(fail)?;
        return Ok(EncodingKey::from_secret(key));
    }
    private_key(algorithm, key).map_err(fail)
}

fn check_secret(secret: &[u8]) -> Result<(), String> {
    // Everybody may know a public key. Taken for a shared secret it would let everybody sign.
    if find(secret, b"-----BEGIN ").is_some() || secret.starts_with(b"ssh-") || secret.starts_with(b"ecdsa-")
    {
        return Err("is a PEM or SSH key, which HS256 would use as a shared secret; allowed: at least \
                    32 secret bytes, or for this key the algorithm RS256, ES256 or EdDSA"
            .into());
    }
    match secret.len() {
        0..MIN_SECRET_LEN => {
            Err(format!("has {} bytes; allowed: at least {MIN_SECRET_LEN} for HS256", secret.len()))
        }
        _ => Ok(()),
    }
}

fn public_key(algorithm: Algorithm, pem: &[u8]) -> Result<DecodingKey, String> {
    let allowed = format!("allowed with {algorithm}: a PEM public key (BEGIN PUBLIC KEY)");
    let (label, body) = pem_block(pem).ok_or_else(|| format!("is not one PEM block; {allowed}"))?;
    match label {
        "PUBLIC KEY" => {}
        "RSA PUBLIC KEY" if algorithm == Algorithm::Rs256 => {}
        "CERTIFICATE" => {
            return Err(format!(
                "is a certificate; {allowed}, as printed by: openssl x509 -in FILE -noout -pubkey"
            ));
        }
        label if label.ends_with("PRIVATE KEY") => {
            return Err(format!(
                "is a private key, which belongs into jwt_private_key; {allowed}, as printed by: \
                 openssl pkey -in FILE -pubout"
            ));
        }
        _ => return Err(format!("is a PEM block of another kind; {allowed}")),
    }
    let wrong_kind = || format!("is not a usable public key for {algorithm}; allowed: {}", kind(algorithm));
    match algorithm {
        Algorithm::Hs256 => unreachable!("a shared secret is not a PEM key"),
        Algorithm::Rs256 => {
            let key = DecodingKey::from_rsa_pem(pem).map_err(|_| wrong_kind())?;
            let der = key.try_get_as_bytes().map_err(|_| wrong_kind())?;
            let (modulus, _) =
                (CRYPTO.key_utils.rsa_pub_components_from_public_key)(der).map_err(|_| wrong_kind())?;
            check_rsa_size(&modulus)?;
            Ok(key)
        }
        Algorithm::Es256 => {
            if !body.starts_with(P256_PUBLIC_KEY) {
                return Err(wrong_kind() + ", not compressed");
            }
            DecodingKey::from_ec_pem(pem).map_err(|_| wrong_kind())
        }
        Algorithm::EdDsa => DecodingKey::from_ed_pem(pem).map_err(|_| wrong_kind()),
    }
}

fn private_key(algorithm: Algorithm, pem: &[u8]) -> Result<EncodingKey, String> {
    let allowed = format!("allowed with {algorithm}: an unencrypted PEM private key (BEGIN PRIVATE KEY)");
    if find(pem, b"-----BEGIN EC PRIVATE KEY-----").is_some() {
        return Err(format!(
            "is in the older form BEGIN EC PRIVATE KEY; {allowed}, as written by: \
             openssl pkcs8 -topk8 -nocrypt -in FILE"
        ));
    }
    let (label, _) = pem_block(pem).ok_or_else(|| format!("is not one PEM block; {allowed}"))?;
    match label {
        "PRIVATE KEY" => {}
        "RSA PRIVATE KEY" if algorithm == Algorithm::Rs256 => {}
        "ENCRYPTED PRIVATE KEY" => return Err(format!("is encrypted; {allowed}")),
        "PUBLIC KEY" | "RSA PUBLIC KEY" => {
            return Err(format!("is a public key, which can't sign; {allowed}"));
        }
        _ => return Err(format!("is a PEM block of another kind; {allowed}")),
    }
    let wrong_kind = || format!("is not a usable private key for {algorithm}; allowed: {}", kind(algorithm));
    let key = match algorithm {
        Algorithm::Hs256 => unreachable!("a shared secret is not a PEM key"),
        Algorithm::Rs256 => EncodingKey::from_rsa_pem(pem),
        Algorithm::Es256 => EncodingKey::from_ec_pem(pem),
        Algorithm::EdDsa => EncodingKey::from_ed_pem(pem),
    }
    .map_err(|_| wrong_kind())?;
    // The library looks at some keys only when they sign; better to fail now.
    jsonwebtoken::crypto::sign(b"", &key, algorithm.jose()).map_err(|_| wrong_kind())?;
    Ok(key)
}

/// An RSA public key from the bytes of its modulus and exponent.
pub(super) fn rsa_key(modulus: &[u8], exponent: &[u8]) -> Result<DecodingKey, &'static str> {
    check_rsa_size(modulus).map_err(|_| "it is an RSA key of less than 2048 or more than 8192 bits")?;
    // An even exponent, 1 among the odd, or one of more than 33 bits is none that a signature library takes.
    match exponent {
        [] | [1] => return Err("its exponent is not one of RSA"),
        [.., last] if last % 2 == 0 || exponent.len() > 5 => return Err("its exponent is not one of RSA"),
        _ => {}
    }
    Ok(DecodingKey::from_rsa_raw_components(modulus, exponent))
}

/// A public key on P-256 from the coordinates of its point (RFC 7518 section 6.2.1.2: 32 bytes each).
pub(super) fn p256_key(x: &[u8], y: &[u8]) -> Result<DecodingKey, &'static str> {
    if (x.len(), y.len()) != (32, 32) {
        return Err("its x or y does not have 32 bytes");
    }
    DecodingKey::from_ec_components(&base64url::encode(x), &base64url::encode(y))
        .map_err(|_| "it is not a point on P-256")
}

/// An Ed25519 public key (RFC 8037 section 2).
pub(super) fn ed25519_key(x: &[u8]) -> Result<DecodingKey, &'static str> {
    if x.len() == 32 { Ok(DecodingKey::from_ed_der(x)) } else { Err("its x does not have 32 bytes") }
}

fn check_rsa_size(modulus: &[u8]) -> Result<(), String> {
    let leading = modulus.iter().take_while(|byte| **byte == 0).count();
    let bits = modulus
        .get(leading)
        .map_or(0, |first| (modulus.len() - leading) * 8 - first.leading_zeros() as usize);
    match bits {
        2048..=8192 => Ok(()),
        _ => Err(format!("is an RSA key of {bits} bits; allowed with RS256: 2048 to 8192 bits")),
    }
}

const fn kind(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Hs256 => "at least 32 secret bytes",
        Algorithm::Rs256 => "RSA of 2048 to 8192 bits",
        Algorithm::Es256 => "the curve P-256 (prime256v1)",
        Algorithm::EdDsa => "Ed25519",
    }
}

/// The label and the body, line ends removed, of a text that holds exactly one PEM block (RFC 7468).
fn pem_block(pem: &[u8]) -> Option<(&str, String)> {
    let text = std::str::from_utf8(pem).ok()?;
    let (_, rest) = text.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, rest) = rest.split_once("-----END ")?;
    let single = !rest.contains("-----BEGIN ");
    single.then(|| (label, body.split_ascii_whitespace().collect()))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
