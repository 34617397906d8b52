//! What a chain shows, and what only a mark from elsewhere does.

use super::*;

fn fields_of(n: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
    vec![(b"what".to_vec(), format!("deed {n}").into_bytes()), (b"user".to_vec(), b"admin".to_vec())]
}

/// A chain of so many entries, as the script writes it, and its record.
fn chain(count: u64) -> (Vec<Entry>, Record) {
    let mut record = Record::default();
    let entries = (1..=count).map(|n| {
        let mut fields = fields_of(n);
        let digest = digest(fields.iter().map(|(name, value)| (&name[..], &value[..])));
        let hash = Sha256::new().chain_update(record.hash).chain_update(digest);
        record.hash = hash.chain_update(format!("{n}:{}", 100 + n)).finalize().into();
        record.number = n;
        for (name, value) in [
            ("hash", record.hash.to_vec()),
            ("number", n.to_string().into()),
            ("at", (100 + n).to_string().into()),
        ] {
            fields.push((name.into(), value));
        }
        Entry { id: format!("{}-0", 100 + n), fields }
    });
    (entries.collect(), record)
}

fn verify(entries: Vec<Entry>, record: Record) -> std::result::Result<WholeTrail, BrokenTrail> {
    let mut walk = Walk::from(record, Vec::new());
    for entry in entries {
        walk.step(entry)?;
    }
    walk.end(chain(5).1)
}

#[test]
fn a_chain_is_whole_from_its_beginning_or_its_anchor_on_and_beyond_the_record_that_was_read() {
    let (entries, record) = chain(5);
    assert_eq!(verify(entries, record).unwrap().entries, 5);
    assert_eq!(verify(Vec::new(), Record::default()).unwrap().number, 0);
    let (mut entries, record) = chain(5);
    let (_, anchor) = chain(2);
    drop(entries.drain(..2));
    let trimmed = Record { trimmed: 2, trimmed_hash: anchor.hash, ..record };
    let whole = verify(entries, trimmed).unwrap();
    assert_eq!((whole.entries, whole.number, whole.hash), (3, 5, hex(&record.hash)));
    let (entries, _) = chain(5);
    assert_eq!(verify(entries, chain(3).1).unwrap().number, 5);
}

#[test]
fn whatever_is_removed_changed_or_put_in_is_noticed() {
    let broken = |tamper: &dyn Fn(&mut Vec<Entry>, &mut Record)| {
        let (mut entries, mut record) = chain(5);
        tamper(&mut entries, &mut record);
        let mut walk = Walk::from(record, Vec::new());
        entries
            .into_iter()
            .try_for_each(|entry| walk.step(entry))
            .and_then(|()| walk.end(record))
            .unwrap_err()
    };
    let missing = BrokenTrail::Missing { count: 1, before: 3, id: "103-0".to_owned() };
    assert_eq!(broken(&|entries, _| drop(entries.remove(1))), missing);
    let missing = BrokenTrail::Missing { count: 2, before: 3, id: "103-0".to_owned() };
    assert_eq!(broken(&|entries, _| drop(entries.drain(..2))), missing);
    let gone = BrokenTrail::NewestMissing { count: 2, number: 5 };
    assert_eq!(broken(&|entries, _| entries.truncate(3)), gone);
    assert_eq!(broken(&|entries, _| entries.clear()), BrokenTrail::NewestMissing { count: 5, number: 5 });
    let changed = BrokenTrail::Changed { number: 2, id: "102-0".to_owned() };
    assert_eq!(broken(&|entries, _| entries[1].fields[0].1 = b"another deed".to_vec()), changed);
    assert_eq!(broken(&|entries, _| entries[1].fields[1].0 = b"target".to_vec()), changed);
    assert_eq!(broken(&|entries, _| entries[1].fields[4].1 = b"99".to_vec()), changed);
    assert_eq!(
        broken(&|entries, _| entries[1].fields.truncate(3)),
        BrokenTrail::Foreign { id: "102-0".to_owned() }
    );
    let foreign = Entry { id: "102-1".to_owned(), fields: fields_of(9) };
    let again = chain(2).0.pop().unwrap();
    for (n, entry) in [foreign, again].into_iter().enumerate() {
        let (mut entries, record) = chain(5);
        entries.insert(2, entry);
        assert!(matches!(verify(entries, record), Err(BrokenTrail::Foreign { .. })), "{n}");
    }
    assert_eq!(broken(&|_, record| *record = Record::default()), BrokenTrail::Record);
    assert_eq!(broken(&|_, record| record.hash = [7; 32]), BrokenTrail::Record);
}

#[test]
fn whatever_was_seen_earlier_is_there_as_it_was_or_was_due_to_go() {
    let mark = |number: u64, hash: [u8; 32], at| {
        let (trail, hash) = (Trail::Security, hex(&hash));
        TrailMark { trail, number, hash, at }
    };
    let of = |n: u64| mark(n, chain(n).1.hash, Some(0));
    // Entry n was written at 100 + n ms; so many of them are there, beyond those that were trimmed.
    let verify = |trimmed: u64, newest: u64, marks: &[TrailMark], now: i64| {
        let (entries, mut record) = chain(newest);
        let entries = entries.into_iter().zip(1..).filter(|(_, n)| *n > trimmed).map(|(entry, _)| entry);
        (record.trimmed, record.trimmed_hash) = (trimmed, chain(trimmed).1.hash);
        let mut walk = Walk::from(record, marks.to_vec());
        for entry in entries {
            walk.step(entry)?;
        }
        walk.end_of_marks(now, Duration::from_secs(100))?;
        walk.end(record)
    };
    assert!(verify(0, 5, &[of(3), of(5), of(0)], 7).is_ok());
    assert_eq!(verify(0, 4, &[of(5)], 7), Err(BrokenTrail::SeenMissing { number: 5, newest: 4 }));
    assert_eq!(verify(0, 0, &[of(5)], 7), Err(BrokenTrail::SeenMissing { number: 5, newest: 0 }));
    let other = mark(3, [7; 32], None);
    assert_eq!(verify(0, 5, std::slice::from_ref(&other), 7), Err(BrokenTrail::SeenChanged { number: 3 }));
    assert_eq!(verify(3, 5, &[other], 700), Err(BrokenTrail::SeenChanged { number: 3 }));
    assert_eq!(verify(3, 5, &[of(3)], 99), Err(BrokenTrail::SeenRemoved { number: 3 }));
    assert_eq!(verify(3, 5, &[of(2)], 99), Err(BrokenTrail::SeenRemoved { number: 2 }));
    assert!(verify(3, 5, &[of(2), of(3)], 100).is_ok());
    // The newest is never trimmed.
    assert_eq!(verify(5, 5, &[], 7), Err(BrokenTrail::NewestMissing { count: 1, number: 5 }));
}
