//! What Python writes is read (fixtures by `tests/fixtures/pickles/make.py`), what nobody should send is refused,
//! and nothing at all makes the reader panic or grow.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::fail2ban::codec::END;

fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/pickles/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn int(number: i64) -> Value {
    Value::Int(number)
}

fn text(text: &str) -> Value {
    Value::Str(text.into())
}

fn tuple<const N: usize>(items: [Value; N]) -> Value {
    Value::Tuple(items.into())
}

fn list<const N: usize>(items: [Value; N]) -> Value {
    Value::List(items.into())
}

fn call(module: &str, name: &str, args: &[Value]) -> Value {
    Value::Reduced(Box::new(Call {
        name: Name { module: module.into(), name: name.into() },
        args: args.into(),
    }))
}

/// Protocol 2 names the classes of Python 2.
fn not_found(protocol: u8) -> (&'static str, &'static str) {
    if protocol == 2 { ("exceptions", "OSError") } else { ("builtins", "FileNotFoundError") }
}

fn expected(protocol: u8) -> Vec<(&'static str, Value)> {
    let pair = |name: &str, value| tuple([text(name), value]);
    let (module, name) = not_found(protocol);
    let numbers = [0, 255, 256, 65535, 65536, -1, (1 << 31) - 1, 1 << 31, i64::MIN, i64::MAX];
    let mut numbers = numbers.map(int).to_vec();
    numbers.extend([Value::Float(1.5), Value::Bool(true), Value::Bool(false)]);
    vec![
        ("pong", tuple([int(0), text("pong")])),
        ("none", tuple([int(0), Value::None])),
        ("numbers", tuple([int(0), Value::List(numbers)])),
        (
            "status",
            tuple([int(0), list([pair("Number of jail", int(2)), pair("Jail list", text("sshd, web"))])]),
        ),
        ("banned", tuple([int(0), list([text("198.51.100.7"), text("2001:db8::1"), text("198.51.100.7")])])),
        (
            "unknown-jail",
            tuple([int(1), call("fail2ban.exceptions", "UnknownJailException", &[text("nope")])]),
        ),
        ("oserror", tuple([int(1), call(module, name, &[int(2), text("No such file"), text("/var/log/x")])])),
        ("error", text("ERROR: could not find MARK")),
        ("shutdown", list([text("SHUTDOWN")])),
    ]
}

#[test]
fn what_python_writes_is_read_in_every_protocol_that_a_server_uses() {
    for protocol in 2..=5 {
        for (name, value) in expected(protocol) {
            assert_eq!(
                read(&fixture(&format!("{name}.p{protocol}"))),
                Ok(value),
                "{name} in protocol {protocol}"
            );
        }
        let Ok(Value::Tuple(stats)) = read(&fixture(&format!("stats.p{protocol}"))) else { panic!() };
        let Value::Dict(jails) = &stats[1] else { panic!("{stats:?}") };
        let web = list([text("systemd"), tuple([int(0), int(0)]), tuple([int(0), int(70000)])]);
        assert_eq!(jails[1], (text("web"), web));
        let mixed = read(&fixture(&format!("text.p{protocol}"))).unwrap();
        let items = mixed.items().unwrap()[1].items().unwrap();
        assert_eq!(items[1].as_str().unwrap().chars().count(), 200);
        assert_eq!(items[2].as_str().unwrap().len(), 300);
        assert_eq!(items[9].items().unwrap().len(), 4);
        assert!(read(&fixture(&format!("surrogate.p{protocol}"))).is_ok(), "a file name that is no UTF-8");
    }
}

#[test]
fn what_python_2_writes_is_read() {
    assert_eq!(read(&fixture("py2-pong.p2")), Ok(tuple([int(0), text("pong")])));
    assert_eq!(read(&fixture("py2-banned.p2")), Ok(tuple([int(0), list([text("198.51.100.7")])])));
    let invalid = call("exceptions", "Exception", &[text("Invalid command")]);
    assert_eq!(read(&fixture("py2-invalid.p2")), Ok(tuple([int(1), invalid])));
}

#[test]
fn text_protocols_are_refused() {
    for name in ["status.p0", "status.p1", "invalid.p0", "invalid.p1"] {
        assert!(read(&fixture(name)).is_err(), "{name}");
    }
}

#[test]
fn a_call_stays_a_description_and_instructions_that_look_around_are_refused() {
    let call_of_system = b"\x80\x02cos\nsystem\nU\x02id\x85R.";
    assert_eq!(read(call_of_system), Ok(call("os", "system", &[text("id")])));
    // INST, OBJ, NEWOBJ, NEWOBJ_EX, PERSID, BINPERSID, EXT1, DUP, POP, BYTEARRAY8, NEXT_BUFFER
    for opcode in *b"io\x81\x92PQ\x8220\x96\x97" {
        let refused = read(&[0x80, 2, opcode, b'.']);
        assert_eq!(refused, Err(PickleError::Opcode { opcode, at: 2 }));
    }
}

#[test]
fn shared_parts_are_fine_and_endless_or_exploding_ones_are_not() {
    let again = list([text("again")]);
    assert_eq!(read(&fixture("shared.p5")), Ok(tuple([int(0), list([again.clone(), again])])));
    assert_eq!(read(&fixture("itself.p5")), Err(PickleError::TooMuch { what: "levels", limit: 64 }));
    let Ok(Value::Tuple(many)) = read(&fixture("many.p5")) else { panic!() };
    assert_eq!(many[1].items().unwrap().len(), 2048);

    // A list of two references to a list of two references to ... : 2^40 leaves in 300 bytes.
    let mut doubling = b"\x80\x04]\x94".to_vec();
    for level in 0..40 {
        doubling.extend([b']', 0x94, b'(', b'h', level, b'h', level, b'e']);
    }
    doubling.push(b'.');
    assert!(matches!(read(&doubling), Err(PickleError::TooMuch { what: "bytes of memory", .. })));
    let limits = Limits { memory: usize::MAX, ..Limits::default() };
    let refused = read_within(&doubling, limits);
    assert_eq!(refused, Err(PickleError::TooMuch { what: "values", limit: 2_000_000 }));
}

#[test]
fn every_limit_holds() {
    let limits = Limits { bytes: 100, ops: 20, memo: 4, values: 10, depth: 3, memory: 100_000 };
    let too_much = |bytes: &[u8]| match read_within(bytes, limits) {
        Err(PickleError::TooMuch { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    assert_eq!(too_much(&[0x80; 101]), "bytes");
    assert_eq!(too_much(&[&b"\x80\x02"[..], &[b']'; 90]].concat()), "instructions");
    assert_eq!(too_much(b"\x80\x02]q\x04."), "memo entries");
    assert_eq!(too_much(b"\x80\x02]r\xff\xff\xff\xff."), "memo entries");
    assert_eq!(too_much(b"\x80\x02(NNNNNNNNNNt."), "values");
    assert_eq!(too_much(b"\x80\x02N\x85\x85\x85."), "levels");
    let long_text = b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xff.";
    assert_eq!(read(long_text), Err(PickleError::Truncated { at: long_text.len() }));
}

/// `str(ADDRESS)` for each, as fail2ban sends them, in protocol 4.
fn addresses(count: u32) -> Vec<u8> {
    let mut pickle = b"\x80\x04K\x00]\x94(\x8c\x08builtins\x94\x8c\x03str\x94\x93\x94".to_vec();
    for n in 0..count {
        let text = std::net::Ipv4Addr::from(0x0b00_0000 + n).to_string();
        pickle.extend([b'h', 3, 0x8c, u8::try_from(text.len()).unwrap()]);
        pickle.extend(text.bytes());
        pickle.extend([0x94, 0x85, 0x94, b'R', 0x94]);
    }
    pickle.extend(b"e\x86.");
    pickle
}

#[test]
fn no_pickle_needs_more_than_8_times_its_size_and_what_fail2ban_sends_needs_less() {
    let Ok(Value::Tuple(answer)) = read(&addresses(100_000)) else { panic!() };
    assert_eq!(answer[1].items().unwrap().len(), 100_001);
    let too_much = |program: &[u8], length: usize| {
        let repeated = program.iter().copied().cycle().take(length / program.len() * program.len());
        let mut pickle = b"\x80\x04(".to_vec();
        pickle.extend(repeated);
        pickle.extend(b"t.");
        match read(&pickle) {
            Err(PickleError::TooMuch { what, limit }) => (what, limit, pickle.len()),
            other => panic!("{:?}", other.err()),
        }
    };
    for program in [&b"]"[..], b"}", b"K\x00"] {
        let floor = 8 * 1024 * 1024;
        assert!(matches!(too_much(program, 500_000), ("bytes of memory", limit, _) if limit == floor));
        // Above the least that any may need.
        let (what, limit, length) = too_much(program, 2_000_000);
        assert_eq!((what, limit), ("bytes of memory", 8 * length));
    }
}

#[test]
fn arguments_that_many_calls_share_are_counted_once_and_never_copied_while_reading() {
    // One tuple of 10,000 arguments, and 80,000 calls with it: what took 1,986 MiB of an agent.
    let mut pickle = b"\x80\x04cos\nsystem\nq\x00(".to_vec();
    pickle.extend([b'N'; 10_000]);
    pickle.extend(b"tq\x01(");
    pickle.extend(b"h\x00h\x01R".repeat(80_000));
    pickle.extend(b"t.");
    let limits = Limits { values: 100, ..Limits::default() };
    assert_eq!(read_within(&pickle, limits), Err(PickleError::TooMuch { what: "values", limit: 100 }));
    assert!(matches!(read(&pickle), Err(PickleError::TooMuch { .. })));
}

#[test]
fn a_command_is_what_python_would_read() {
    let bytes = write_command(&["status", "sshd", "short"]).unwrap();
    let pickle = bytes.strip_suffix(END).unwrap();
    assert_eq!(read(pickle), Ok(list([text("status"), text("sshd"), text("short")])));
}

#[test]
fn a_command_never_holds_what_would_end_its_frame() {
    for bad in ["<F2B_END_COMMAND>", "x<F2B_END_COMMAND>y", "a\nb", "a\rb", "a\0b"] {
        assert!(write_command(&["status", bad]).is_err(), "{bad:?}");
    }
    assert_eq!(write_command(&["x".repeat(65537).as_str()]), Err(ArgumentError::TooLong(65537)));
}

/// Every file of the folder.
static ALL_FIXTURES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pickles");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|end| end != "py"))
        .map(|path| std::fs::read(path).unwrap())
        .collect()
});

#[test]
fn every_beginning_of_every_pickle_is_refused_without_a_panic() {
    for pickle in ALL_FIXTURES.iter() {
        for end in (0..pickle.len()).step_by(1 + pickle.len() / 1000) {
            assert!(read(&pickle[..end]).is_err(), "{:?}", &pickle[..end]);
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes);
        let _ = read(&[&[0x80, 4][..], &bytes].concat());
    }

    #[test]
    fn arbitrary_programs_of_known_instructions_never_panic_nor_pass_the_limits(
        program in prop::collection::vec(
            prop_oneof![
                prop::sample::select(&b"(NK\x05]}\x8f)\x85\x86\x87taesu\x90\x94q\x00h\x00h\x01Rb\x93\x88U\x01x"[..]),
                any::<u8>(),
            ],
            0..200,
        )
    ) {
        let limits = Limits { bytes: 1000, ops: 300, memo: 50, values: 500, depth: 10, memory: 100_000 };
        let _ = read_within(&[&[0x80, 4][..], &program, b"."].concat(), limits);
    }

    #[test]
    fn a_flipped_byte_in_a_real_pickle_never_panics(which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut pickle = which.get(&ALL_FIXTURES).clone();
        let at = at.index(pickle.len());
        pickle[at] = byte;
        let _ = read(&pickle);
    }

    #[test]
    fn any_words_are_either_refused_or_read_back_the_same(words in prop::collection::vec(any::<String>(), 0..6)) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if let Ok(bytes) = write_command(&words) {
            prop_assert_eq!(bytes.windows(END.len()).filter(|window| *window == END).count(), 1);
            let back = read(bytes.strip_suffix(END).unwrap()).unwrap();
            let back: Vec<_> = back.items().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
            prop_assert_eq!(back, words);
        }
    }
}
