//! What is read from the answers of real nodes, and that no old owner is trusted once a worker has moved to the next one.

use super::*;

const NODES: &str = "\
07c3 10.0.0.4:7003@17003,four.example,shard-id=69bc slave e7d1 0 1426238317239 4 connected
67ed 10.0.0.2:7001@17001,two.example master - 0 1426238316232 2 connected 5461-10922 [93-<-292f]
292f fd00::3:7002@17002 master,fail - 0 1426238318243 3 disconnected 10923-16383
e7d1 :7000@17000,one.example myself,master - 0 0 7 connected 0-92 94 96-5460 [95->-67ed]
dead :0@0 master,noaddr - 0 0 0 disconnected
beef 10.0.0.9:7009@17009 handshake - 0 0 0 disconnected
";

fn text(text: &str) -> Value {
    Value::BulkString(text.as_bytes().to_vec())
}

fn range(endpoint: Value, port: i64, id: &str) -> Vec<Value> {
    vec![
        Value::Int(0),
        Value::Int(0),
        Value::Array(vec![endpoint, Value::Int(port), text(id), Value::Array(vec![])]),
    ]
}

fn read(slots: &[Vec<Value>], slot: u16, tls: bool) -> View {
    View::read(NODES, slots, &Asked { address: "seed:7000", slot, tls }).unwrap()
}

#[test]
fn the_owner_its_epoch_and_the_masters_with_slots_are_read() {
    let view = read(&[], 94, false);
    assert_eq!(view.by, "e7d1");
    let owner = Owner { id: "e7d1".to_owned(), address: "seed:7000".to_owned(), epoch: 7 };
    assert_eq!(view.owner, Some(owner), "a node without an address is at the one that was asked");
    assert_eq!(view.masters, ["292f", "67ed", "e7d1"].map(str::to_owned).into());
    assert_eq!(view.nodes["292f"], "[fd00::3]:7002");
    assert!(!view.nodes.contains_key("beef"));
    for (slot, id) in [(0, "e7d1"), (5460, "e7d1"), (5461, "67ed"), (16383, "292f")] {
        assert_eq!(read(&[], slot, false).owner.unwrap().id, id, "{slot}");
    }
    assert_eq!(read(&[], 93, false).owner, None, "what is imported is nobody's here");
}

#[test]
fn clients_go_to_the_address_that_the_cluster_prefers_and_over_tls_to_the_name() {
    let two = |endpoint: Value, tls| read(&[range(endpoint, 7001, "67ed")], 6000, tls).owner.unwrap().address;
    assert_eq!(two(text("10.0.0.2"), false), "10.0.0.2:7001");
    assert_eq!(two(text("10.0.0.2"), true), "two.example:7001");
    assert_eq!(two(text("two.elsewhere"), false), "two.elsewhere:7001");
    assert_eq!(two(text("?"), false), "10.0.0.2:7001", "a name is preferred and there is none");
    for same in [Value::Nil, text("")] {
        assert_eq!(two(same, true), "seed:7001", "whatever leads to the node that was asked leads to all");
    }
    assert_eq!(read(&[], 6000, false).owner.unwrap().address, "10.0.0.2:7001", "Redis 6.2 has no more");
    assert_eq!(read(&[], 6000, true).owner.unwrap().address, "two.example:7001");
}

/// What `by` says: this owner with this epoch, in a cluster of these masters and the replica `a2` of `a`.
fn says(by: &str, id: &str, epoch: u64, masters: &[&str]) -> View {
    let masters: BTreeSet<String> = masters.iter().map(|&id| id.to_owned()).collect();
    let all = masters.iter().map(String::as_str).chain(["a", "a2"]);
    View {
        by: by.to_owned(),
        owner: Some(Owner { id: id.to_owned(), address: format!("{id}:1"), epoch }),
        nodes: all.map(|id| (id.to_owned(), format!("{id}:1"))).collect(),
        masters,
    }
}

fn named(views: &[View], settled: Option<(&str, u64)>) -> Option<String> {
    owner(views, settled, &BTreeSet::new()).ok().map(|owner| owner.id)
}

#[test]
fn the_word_of_a_master_for_its_own_slot_counts_for_nothing() {
    let (old, new) = (["a", "b", "c"], ["a2", "b", "c"]);
    let slept = says("a", "a", 1, &old);
    let settled = Some(("a", 1));
    assert_eq!(named(std::slice::from_ref(&slept), settled), None);
    assert_eq!(named(&[slept.clone(), says("b", "a", 1, &old)], settled).as_deref(), Some("a"));
    assert_eq!(named(&[slept.clone(), says("b", "a", 1, &old)], None), None, "one is too few to move there");
    let b = says("b", "a2", 2, &new);
    assert_eq!(named(&[says("a2", "a2", 2, &new), b.clone()], settled), None);
    let c = says("c", "a2", 2, &new);
    assert_eq!(named(&[slept.clone(), b.clone(), c.clone()], settled).as_deref(), Some("a2"));
    assert_eq!(named(&[slept, b.clone(), b], settled), None, "one node asked at two addresses has one voice");
    let replica = says("a3", "a2", 2, &new);
    assert_eq!(named(&[replica.clone(), c], settled), None, "a replica has none");
}

#[test]
fn an_owner_that_was_replaced_and_is_the_owner_again_is_moved_to() {
    let all = ["a", "b", "c"];
    let again = says("b", "a", 3, &all);
    assert_eq!(named(std::slice::from_ref(&again), Some(("a", 1))), None);
    assert_eq!(named(&[again, says("c", "a", 3, &all)], Some(("a", 1))).as_deref(), Some("a"));
}

#[test]
fn those_who_stay_and_those_who_move_have_always_asked_one_in_common() {
    for masters in 2..200 {
        let others = masters - 1;
        assert!(to_stay(masters) + to_move(masters) > others, "{masters}");
        assert!(2 * to_move(masters) > others, "{masters}: no two owners");
        assert!(to_move(masters) <= masters / 2 + 1, "{masters}: as many have voted for the new owner");
    }
}

#[test]
fn a_cluster_of_one_master_has_the_owner_of_the_greatest_epoch() {
    let old = says("a", "a", 1, &["a"]);
    assert_eq!(named(std::slice::from_ref(&old), None).as_deref(), Some("a"));
    let new = says("a2", "a2", 2, &["a2"]);
    assert_eq!(named(&[old, new], Some(("a", 1))).as_deref(), Some("a2"));
}

#[test]
fn no_node_of_another_cluster_leads_anybody_there() {
    let view = |by: &str, id: &str| {
        let mut view = says(by, id, 9, &["x", "y", "z"]);
        view.nodes = ["x", "y", "z"].map(|id| (id.to_owned(), String::new())).into();
        view
    };
    let other = [view("x", "z"), view("y", "z")];
    assert_eq!(named(&other, None).as_deref(), Some("z"));
    let known = ["a", "a2", "b", "c"].map(str::to_owned).into();
    assert!(owner(&other, Some(("a", 1)), &known).unwrap_err().contains("another Redis Cluster"));
    let all = ["a", "b", "c"];
    let both = [says("b", "a", 1, &all), says("c", "a", 1, &all), other[0].clone(), other[1].clone()];
    assert!(owner(&both, None, &BTreeSet::new()).unwrap_err().contains("different Redis Clusters"));
    assert_eq!(owner(&both, Some(("a", 1)), &known).unwrap().id, "a");
}
