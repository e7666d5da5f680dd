//! What other people's libraries make of the same messages (`spec/vectors`, written by `tools/vectors.py`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::Binary;
use super::msgpack::{pack, unpack};
use super::seal::{IV_LEN, KeyPair, PRIVATE_KEY_LEN};
use super::zlib::{Opener, Squeezer};

const MAX: usize = 1 << 20;

fn vectors(file: &str) -> Value {
    serde_json::from_str(file).expect("tools/vectors.py writes JSON")
}

/// The vectors of one kind, which are some.
fn list<'a>(file: &'a Value, kind: &str) -> &'a Vec<Value> {
    file[kind].as_array().filter(|list| !list.is_empty()).expect("a list with vectors")
}

fn text<'a>(vector: &'a Value, field: &str) -> &'a str {
    vector[field].as_str().expect("a field with a text")
}

fn bytes(vector: &Value, field: &str) -> Vec<u8> {
    let digits = text(vector, field);
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn parse(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

#[test]
fn msgpack_is_what_the_python_library_makes_and_reads() {
    let file = vectors(include_str!("../../../../spec/vectors/msgpack.json"));
    for vector in list(&file, "both") {
        let mut packed = Vec::new();
        pack(text(vector, "json"), &mut packed).unwrap();
        assert_eq!(packed, bytes(vector, "msgpack"), "{}", vector["name"]);
    }
    for vector in list(&file, "both").iter().chain(list(&file, "unpack")) {
        let json = unpack(&bytes(vector, "msgpack"), MAX).unwrap();
        assert_eq!(parse(&json), parse(text(vector, "json")), "{}", vector["name"]);
    }
    for vector in list(&file, "refused") {
        assert!(unpack(&bytes(vector, "msgpack"), MAX).is_err(), "{}", vector["name"]);
    }
    for vector in list(&file, "unpackable") {
        assert!(pack(text(vector, "json"), &mut Vec::new()).is_err(), "{}", vector["name"]);
    }
}

#[test]
fn zlib_streams_of_the_python_library_open() {
    let file = vectors(include_str!("../../../../spec/vectors/zlib.json"));
    let (mut opener, mut squeezer) = (Opener::default(), Squeezer::default());
    for vector in list(&file, "opened") {
        let payload = bytes(vector, "payload");
        let Binary::Zlib(stream) = Binary::of(&payload) else { panic!("no C: in {}", vector["name"]) };
        assert_eq!(opener.open(stream, MAX).unwrap(), text(vector, "json").as_bytes(), "{}", vector["name"]);
        let mut again = Vec::new();
        squeezer.squeeze(text(vector, "json").as_bytes(), &mut again);
        assert_eq!(opener.open(&again[2..], MAX).unwrap(), text(vector, "json").as_bytes());
    }
    for vector in list(&file, "refused") {
        let opened = opener.open(&bytes(vector, "payload")[2..], MAX);
        assert!(opened.is_err() || String::from_utf8(opened.unwrap()).is_err(), "{}", vector["name"]);
    }
}

#[test]
fn keys_and_sealed_messages_are_those_of_another_library() {
    let file = vectors(include_str!("../../../../spec/vectors/encryption.json"));
    let pair = |vector: &Value, field: &str| {
        let private: [u8; PRIVATE_KEY_LEN] = bytes(vector, field).try_into().unwrap();
        KeyPair::new(&private).unwrap()
    };
    for vector in list(&file, "sealed") {
        let (server, client) = (pair(vector, "server_private"), pair(vector, "client_private"));
        assert_eq!(server.public(), text(vector, "server_public"));
        assert_eq!(client.public(), text(vector, "client_public"));
        let iv: [u8; IV_LEN] = bytes(vector, "iv").try_into().unwrap();
        let (payload, message) = (bytes(vector, "payload"), bytes(vector, "message"));
        let mut sealed = Vec::new();
        let mut ours = server.agree(client.public(), iv).unwrap();
        ours.seal(&message, &mut sealed);
        assert_eq!(sealed, payload, "{}", vector["name"]);
        let theirs = client.agree(server.public(), [0; IV_LEN]).unwrap();
        let Binary::Sealed(inside) = Binary::of(&payload) else { panic!("no E: in {}", vector["name"]) };
        assert_eq!(theirs.open(inside).unwrap(), message);
    }
    let ours = KeyPair::new(&[1; PRIVATE_KEY_LEN]).unwrap();
    for vector in list(&file, "refused") {
        assert!(ours.agree(text(vector, "public"), [0; IV_LEN]).is_err(), "{}", vector["name"]);
    }
    assert!(STANDARD.decode(ours.public()).is_ok());
}
