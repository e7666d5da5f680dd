//! What a node sees of single events, and when: scenarios in the small world of `members_world`.

#[allow(
    unreachable_pub,
    dead_code,
    reason = "a module of a test is reached from the test alone, and others use the rest of it"
)]
mod members_world;

use members_world::{DEAD_AFTER_MS, Life, World, address, address_of, config};
use wse_mesh::ids::NodeId;
use wse_mesh::members::Level;
use wse_mesh::view::Standing::{self, Alive, Dead, Suspect};

/// A full mesh of so many, with the first as everybody's seed, and its own.
fn mesh(count: usize) -> (World, Vec<Life>) {
    let mut world = World::new(7, 2 * count);
    world.name("seed", 0);
    let lives = (0..count).map(|host| world.start(host, with_seed())).collect();
    world.run_for(3_000);
    world.check_whole();
    (world, lives)
}

fn with_seed() -> wse_mesh::members::Config {
    let mut config = config();
    config.seeds = vec![address("seed:9999")];
    config
}

/// What all but one see of it.
fn seen(world: &World, id: NodeId) -> Vec<Option<Standing>> {
    let others = world.processes.keys().filter(|life| world.id(**life) != id);
    others.map(|life| world.sees(*life, id)).collect()
}

#[test]
fn an_idle_mesh_of_twelve_says_little() {
    let (mut world, _) = mesh(12);
    world.sent.clear();
    let dials = world.dials;
    world.run_for(600_000);
    let of = |kind: &str| world.sent.get(kind).copied().unwrap_or_default() as f64 / 600.0;
    let all: f64 = world.sent.keys().copied().map(of).sum();
    println!(
        "frames a second in a mesh of 12: PING {:.1}, PONG {:.1}, PEER_LIST {:.1}, all {all:.1}",
        of("PING"),
        of("PONG"),
        of("PEER_LIST")
    );
    assert!(of("PING") <= 66.5 && of("PONG") <= 66.5 && of("PEER_LIST") <= 4.5, "{:?}", world.sent);
    assert!(all <= 140.0, "a node says less than twelve frames a second: {:?}", world.sent);
    assert!(
        world.dials - dials <= 10,
        "the seed looks for itself once a minute, and nobody else for anybody"
    );
}

#[test]
fn a_node_that_is_its_own_seed_waits_for_others_to_find_it_and_says_nothing_of_it() {
    let mut world = World::new(1, 1);
    world.name("seed", 0);
    let life = world.start(0, with_seed());
    assert!(world.processes[&life].members.view().joining);
    world.run_for(5_900);
    assert!(world.processes[&life].members.view().joining);
    world.run_for(200);
    assert!(!world.processes[&life].members.view().joining, "all its seeds are itself");
    world.run_for(600_000);
    assert_eq!(world.notes, []);
    assert!(world.dials <= 11, "once a minute, for the name may lead elsewhere later: {}", world.dials);
    assert_eq!(world.processes[&life].members.peers().count(), 0);
    assert_eq!(world.processes[&life].members.unreached().count(), 0);
}

#[test]
fn a_name_that_led_to_the_node_itself_is_tried_again_when_it_leads_elsewhere() {
    let mut world = World::new(1, 2);
    world.name("seed", 0);
    world.start(0, with_seed());
    world.run_for(1_000);
    world.start(1, config());
    world.name("seed", 1);
    world.run_for(61_000);
    world.check_whole();
}

#[test]
fn a_node_without_its_seeds_waits_five_seconds_and_then_acts_alone() {
    let mut world = World::new(1, 2);
    world.name("seed", 1);
    let life = world.start(0, with_seed());
    world.run_for(5_900);
    assert!(world.processes[&life].members.view().joining);
    world.run_for(200);
    assert!(!world.processes[&life].members.view().joining);
    assert_eq!(world.processes[&life].members.unreached().collect::<Vec<_>>(), [&address("seed:9999")]);
    world.run_for(60_000);
    let told = world.notes.iter().filter(|(_, _, level, _)| *level > Level::Debug).count();
    assert_eq!(told, 2, "a line a minute: {:?}", world.notes);
    world.start(1, config());
    world.run_for(2_200);
    world.check_whole();
}

#[test]
fn a_black_holed_peer_is_suspect_then_dead_to_the_two_and_comes_back_when_it_is_over() {
    let (mut world, lives) = mesh(3);
    let (one, other) = (lives[1], lives[2]);
    let id = world.id(other);
    world.network.block(1, 2);
    world.network.block(2, 1);
    world.run_for(DEAD_AFTER_MS / 2 - 2_500);
    assert_eq!(world.sees(one, id), Some(Alive), "silence of a heartbeat is none");
    world.run_for(2_600);
    assert_eq!(world.sees(one, id), Some(Suspect));
    world.run_for(DEAD_AFTER_MS / 2);
    assert_eq!(world.sees(one, id), Some(Dead));
    let peer = world.processes[&one].members.peers().find(|peer| peer.id == id).unwrap();
    assert_eq!(peer.session, None, "who is dead is not connected");
    assert_eq!(world.sees(lives[0], id), Some(Alive), "opinions of death are not passed on");
    world.run_for(60_000);
    assert_eq!(world.sees(one, id), Some(Dead), "nor does gossip of its life revive it");
    world.heal();
    world.run_for(7_000);
    world.check_whole();
}

#[test]
fn a_process_that_crashed_is_dead_as_soon_as_its_host_refuses() {
    let (mut world, lives) = mesh(5);
    let id = world.id(lives[2]);
    world.crash(lives[2], true);
    world.run_for(300);
    assert_eq!(seen(&world, id), [Some(Dead); 4]);
}

#[test]
fn a_host_that_is_gone_is_dead_after_the_limit_and_not_before() {
    let (mut world, lives) = mesh(5);
    let id = world.id(lives[2]);
    world.crash(lives[2], false);
    world.network.set_up(2, false);
    world.run_for(DEAD_AFTER_MS - 2_300);
    assert_eq!(seen(&world, id), [Some(Suspect); 4]);
    world.run_for(5_900);
    assert_eq!(seen(&world, id), [Some(Dead); 4]);
}

#[test]
fn a_lost_link_is_not_a_death_and_stands_again_at_once() {
    let (mut world, lives) = mesh(3);
    world.run_for(5_000);
    let links: Vec<u64> = world.network.open_links().map(|(link, _)| link).collect();
    for link in links {
        world.reset(link, &[0, 1]);
    }
    world.run_for(400);
    world.check_whole();
    assert_eq!(world.false_deaths, 0);
    assert_eq!(world.downs, 6);
    assert_eq!(lives.len(), 3);
}

#[test]
fn who_leaves_is_seen_leaving_by_all_and_is_dead_when_it_says_so() {
    let (mut world, lives) = mesh(5);
    let id = world.id(lives[0]);
    world.leave(lives[0]);
    world.run_for(200);
    world.check_whole();
    for life in &lives[1..] {
        let member = *world.processes[life].members.view().member(id).unwrap();
        assert!(member.leaving && member.standing == Alive, "it answers still");
    }
    // A newcomer hears it in the first HELLO.
    let late = world.start(5, with_seed());
    world.run_for(3_000);
    assert!(world.processes[&late].members.view().member(id).unwrap().leaving);
    world.shutdown(lives[0]);
    world.run_for(200);
    assert_eq!(seen(&world, id), [Some(Dead); 5]);
}

#[test]
fn who_lost_the_link_to_one_that_shuts_down_hears_it_from_the_others() {
    let (mut world, lives) = mesh(3);
    let id = world.id(lives[2]);
    world.network.block(1, 2);
    world.network.block(2, 1);
    world.run_for(1_000);
    world.shutdown(lives[2]);
    world.run_for(200);
    assert_eq!(world.sees(lives[1], id), Some(Alive), "its own link seems to stand");
    world.run_for(DEAD_AFTER_MS);
    assert_eq!(world.sees(lives[1], id), Some(Dead));
    // One that starts now is told that it is gone, and so never takes it for alive.
    let late = world.start(3, with_seed());
    world.run_for(3_000);
    assert_eq!(world.sees(late, id), Some(Dead));
}

#[test]
fn a_process_that_returns_at_once_under_its_address_replaces_the_one_that_was_there() {
    let (mut world, lives) = mesh(3);
    let id = world.id(lives[2]);
    world.crash(lives[2], false);
    let new = world.start(2, with_seed());
    world.run_for(2_300);
    assert_eq!(world.sees(lives[0], id), Some(Dead), "the links with it seem to stand, but nobody answers");
    assert_eq!(world.sees(lives[1], id), Some(Dead));
    assert_eq!(world.sees(lives[1], world.id(new)), Some(Alive));
    world.check_whole();
}

#[test]
fn a_pod_that_returns_under_a_new_address_is_found_by_its_name_and_by_gossip() {
    let (mut world, lives) = mesh(5);
    let id = world.id(lives[0]);
    world.crash(lives[0], false);
    world.network.set_up(0, false);
    world.run_for(1_000);
    world.name("seed", 7);
    world.start(7, with_seed());
    world.run_for(9_000);
    world.check_whole();
    assert_eq!(seen(&world, id)[..4], [Some(Dead); 4]);
}

#[test]
fn a_process_that_stood_still_blames_nobody_and_is_back_at_once() {
    let (mut world, lives) = mesh(5);
    let id = world.id(lives[3]);
    world.stop(lives[3]);
    world.run_for(30_000);
    assert_eq!(seen(&world, id), [Some(Dead); 4]);
    let before = world.false_deaths;
    world.go_on(lives[3]);
    world.run_for(3_000);
    world.check_whole();
    let stopped_saw =
        world.notes.iter().filter(|(_, life, _, text)| *life == lives[3] && text.contains("dead"));
    assert_eq!(stopped_saw.count(), 0, "it has seen nobody dead");
    assert!(world.false_deaths >= before);
}

#[test]
fn two_nodes_that_advertise_one_address_live_for_the_others_and_are_told_of_in_the_log() {
    let (mut world, lives) = mesh(3);
    let mut wrong = with_seed();
    wrong.advertised = Some(address_of(1));
    let fourth = world.start(4, wrong);
    world.run_for(60_000);
    // The two take each other's address for their own and never meet: that is what the line is for.
    for (life, other) in
        [(lives[0], lives[1]), (lives[0], fourth), (lives[2], lives[1]), (lives[1], lives[0])]
    {
        assert_eq!(world.sees(life, world.id(other)), Some(Alive), "{life:?} on {other:?}");
    }
    assert_eq!(world.false_deaths, 0);
    let told =
        world.notes.iter().filter(|(_, _, level, text)| *level == Level::Warn && text.contains("both say"));
    assert!((1..=6).contains(&told.count()), "{:?}", world.notes);
}

#[test]
fn an_answer_takes_as_long_as_the_way_there_and_back() {
    let (mut world, lives) = mesh(3);
    world.run_for(20_000);
    let slowest = world.network.slowest_ms();
    for peer in world.processes[&lives[1]].members.peers() {
        let took = peer.round_trip_ms.expect("it was asked");
        assert!((2..=2 * slowest).contains(&took), "{took} ms, each way takes 1 to {slowest}");
    }
}
