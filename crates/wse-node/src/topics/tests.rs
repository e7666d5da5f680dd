use super::*;

pub(super) fn filter(text: &str) -> Filter<'_> {
    Filter::parse(text).unwrap()
}

#[test]
fn an_audience_names_the_shards_that_have_receivers() {
    let topics = Topics::new(4);
    assert!(topics.audience("a.b").is_none());
    let exact = topics.subscribe(filter("a.b"), None, 1, Wire::Plain);
    let pattern = topics.subscribe(filter("a.*"), None, 3, Wire::Plain);
    assert_eq!(topics.audience("a.b").unwrap().shards(), 0b1010);
    assert_eq!(topics.audience("a.c").unwrap().shards(), 0b1000);
    assert!(topics.audience("b").is_none());
    topics.unsubscribe(&exact, 1, Wire::Plain);
    assert_eq!(topics.audience("a.b").unwrap().shards(), 0b1000);
    topics.unsubscribe(&pattern, 3, Wire::Plain);
    assert!(topics.audience("a.b").is_none() && topics.audience("a.c").is_none());
}

#[test]
fn topics_that_nobody_hears_leave_nothing_behind() {
    let topics = Topics::new(1);
    let pattern = topics.subscribe(filter("x*"), None, 0, Wire::Plain);
    for i in 0..REMEMBERED * 3 {
        assert!(topics.audience(&format!("topic-{i}")).is_none());
    }
    assert!(topics.tables.read().remembered.len() <= REMEMBERED);
    topics.unsubscribe(&pattern, 0, Wire::Plain);
    assert!(topics.tables.read().remembered.is_empty() && topics.tables.read().patterns.is_empty());
}

#[test]
fn a_topic_has_its_groups_in_its_audience_while_they_have_members() {
    let topics = Topics::new(3);
    let names = |topic: &str| -> Vec<String> {
        let audience = topics.audience(topic);
        let groups = audience.iter().flat_map(|audience| audience.groups().iter());
        groups.map(|group| group.group.as_ref().unwrap().name.to_string()).collect()
    };
    let join = |name: &str, shard| topics.join_group("t", name, shard, Wire::Plain).unwrap();
    let first = join("a", 0);
    assert_eq!((names("t"), names("other")), (vec!["a".to_owned()], vec![]));
    assert_eq!(topics.audience("t").unwrap().shards(), 0, "members are no subscribers");
    assert_eq!(topics.audience("t").unwrap().all_shards(), 0b001);
    let plain = topics.subscribe(filter("t"), None, 1, Wire::Plain);
    let (second, other) = (join("a", 2), join("b", 2));
    assert_eq!((first.id, names("t")), (second.id, vec!["a".to_owned(), "b".to_owned()]));
    let picks: Vec<Picks> = (0..2).map(|_| topics.audience("t").unwrap().pick()).collect();
    assert_eq!(picks, [vec![(0, 0b01), (2, 0b10)], vec![(2, 0b11)]], "in turn by members, for each group");
    topics.unsubscribe(&first, 0, Wire::Plain);
    topics.unsubscribe(&plain, 1, Wire::Plain);
    topics.unsubscribe(&other, 2, Wire::Plain);
    assert_eq!(names("t"), ["a"]);
    topics.unsubscribe(&second, 2, Wire::Plain);
    assert!(topics.audience("t").is_none() && topics.tables.read().groups.is_empty());
    assert!(topics.tables.read().remembered.is_empty());
    assert_ne!(join("a", 1).id, first.id, "a group that begins anew is another");
}

#[test]
fn a_channel_lives_as_long_as_its_last_subscriber() {
    let topics = Topics::new(2);
    let first = topics.subscribe(filter("t"), None, 0, Wire::Plain);
    let second = topics.subscribe(filter("t"), None, 1, Wire::Plain);
    assert_eq!(first.id, second.id);
    topics.unsubscribe(&first, 0, Wire::Plain);
    assert_eq!((topics.subscriber_count(filter("t")), topics.audience("t").unwrap().shards()), (1, 0b10));
    topics.unsubscribe(&second, 1, Wire::Plain);
    assert_eq!(topics.topic_count(), 0);
    assert_ne!(topics.subscribe(filter("t"), None, 0, Wire::Plain).id, first.id, "an id is never used twice");
}

#[test]
fn an_audience_lasts_until_a_pattern_that_matters_comes_or_goes() {
    let topics = Topics::new(2);
    topics.subscribe(filter("a.b"), None, 0, Wire::Plain);
    let first = topics.audience("a.b").unwrap();
    let elsewhere = topics.subscribe(filter("x.*"), None, 1, Wire::Plain);
    assert!(
        Arc::ptr_eq(&first, &topics.audience("a.b").unwrap()),
        "what does not concern it changes nothing"
    );
    let pattern = topics.subscribe(filter("a.*"), None, 1, Wire::Plain);
    let second = topics.audience("a.b").unwrap();
    assert_eq!((first.shards(), second.shards()), (0b01, 0b11));
    topics.unsubscribe(&elsewhere, 1, Wire::Plain);
    assert!(Arc::ptr_eq(&second, &topics.audience("a.b").unwrap()));
    topics.unsubscribe(&pattern, 1, Wire::Plain);
    assert_eq!(topics.audience("a.b").unwrap().shards(), 0b01);
    let again = topics.subscribe(filter("a.*"), None, 1, Wire::Plain);
    assert_ne!(again.id, pattern.id);
    assert_eq!(topics.audience("a.b").unwrap().shards(), 0b11);
}

#[test]
fn a_part_of_a_pattern_is_heard_by_those_with_an_equal_list() {
    let topics = Topics::new(2);
    let list = |denied| Arc::new(Acl::new(None, &[filter(denied)]));
    let (one, equal, other) = (list("a.x"), list("a.x"), list("a.y"));
    let first = topics.subscribe(filter("a.*"), Some(&one), 0, Wire::Plain);
    assert_eq!(first.id, topics.subscribe(filter("a.*"), Some(&equal), 0, Wire::Plain).id);
    let second = topics.subscribe(filter("a.*"), Some(&other), 1, Wire::Plain);
    let whole = topics.subscribe(filter("a.*"), None, 0, Wire::Plain);
    let ids = |topic: &str| {
        let mut ids: Vec<u64> = topics
            .audience(topic)
            .map_or(vec![], |audience| audience.channels().iter().map(|channel| channel.id).collect());
        ids.sort_unstable();
        ids
    };
    assert_eq!(ids("a.x"), [second.id, whole.id]);
    assert_eq!(ids("a.y"), [first.id, whole.id]);
    assert_eq!(ids("a.z"), [first.id, second.id, whole.id]);
    assert_eq!(topics.subscriber_count(filter("a.*")), 4);
    topics.unsubscribe(&whole, 0, Wire::Plain);
    topics.unsubscribe(&second, 1, Wire::Plain);
    assert!(topics.audience("a.x").is_none());
    topics.unsubscribe(&first, 0, Wire::Plain);
    topics.unsubscribe(&first, 0, Wire::Plain);
    assert!(topics.audience("a.y").is_none() && topics.tables.read().patterns.is_empty());
}

#[test]
fn a_publisher_that_waited_finds_those_who_moved_meanwhile() {
    let topics = Topics::new(1);
    let whole = topics.subscribe(filter("a.*"), None, 0, Wire::Plain);
    let waited = topics.audience("a.x").unwrap();
    assert!(Arc::ptr_eq(&waited, &topics.renewed(&waited, "a.x").unwrap()));
    let list = Arc::new(Acl::new(None, &[filter("a.y")]));
    let part = topics.subscribe(filter("a.*"), Some(&list), 0, Wire::Plain);
    // Counted in both until the shard knows.
    let ids = |audience: &Audience| audience.channels().iter().map(|channel| channel.id).collect::<Vec<_>>();
    assert_eq!(ids(&topics.renewed(&waited, "a.x").unwrap()), [whole.id, part.id]);
    topics.unsubscribe(&whole, 0, Wire::Plain);
    assert_eq!(ids(&topics.renewed(&waited, "a.x").unwrap()), [part.id]);
    assert!(topics.renewed(&waited, "a.y").is_none());
}
