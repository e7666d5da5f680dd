//! A list with an index finds what a map finds, on both sides of the length from which the index pays.
//!
//! Operations on a `KeyedList` beside a map from key to value.

#![no_main]

use std::collections::BTreeMap;

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use wse_core::keyed::{Keyed, KeyedList};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Element {
    key: u64,
    value: u32,
}

impl Keyed for Element {
    fn key(&self) -> u64 {
        self.key
    }
}

fuzz_target!(|input: &[u8]| {
    let mut input = Unstructured::new(input);
    let (mut list, mut model) = (KeyedList::default(), BTreeMap::new());
    let mut value = 0;
    while !input.is_empty() {
        value += 1;
        let _ = step(&mut input, value, &mut list, &mut model);
        check(&list, &model);
    }
});

fn step(
    input: &mut Unstructured<'_>,
    value: u32,
    list: &mut KeyedList<Element>,
    model: &mut BTreeMap<u64, u32>,
) -> Result<()> {
    let choice: u8 = input.arbitrary()?;
    // Keys that differ in their high bits only, as topic numbers may.
    let key = u64::from(choice % 80) << (choice % 3 * 24);
    if choice == 255 {
        let taken: BTreeMap<_, _> =
            list.take().into_iter().map(|element| (element.key, element.value)).collect();
        assert_eq!(taken, std::mem::take(model));
        return Ok(());
    }
    match (list.position(key), model.get(&key)) {
        (None, None) => {
            let element = Element { key, value };
            let at = list.push(element);
            assert_eq!(list.as_slice()[at], element);
            model.insert(key, value);
        }
        (Some(at), Some(expected)) if choice >= 160 => {
            assert_eq!(list.swap_remove(at), Element { key, value: *expected });
            model.remove(&key);
        }
        (Some(at), Some(_)) => {
            list.get_mut(at).expect("it was found there").value = value;
            model.insert(key, value);
        }
        (found, expected) => panic!("key {key}: the list says {found:?}, the map {expected:?}"),
    }
    Ok(())
}

fn check(list: &KeyedList<Element>, model: &BTreeMap<u64, u32>) {
    assert_eq!((list.len(), list.is_empty()), (model.len(), model.is_empty()));
    for (at, element) in list.as_slice().iter().enumerate() {
        assert_eq!(model.get(&element.key), Some(&element.value));
        assert_eq!(list.position(element.key), Some(at));
    }
}
