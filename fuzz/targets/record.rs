//! A session's record. One that is accepted reads back the same, names only files of its own session
//! at places from the root, and never tells a time that can not be.

#![no_main]

use libfuzzer_sys::fuzz_target;
use session::record::{Kind, Place, Record, RecordName};

fuzz_target!(|bytes: &[u8]| {
    let _ = Record::other_version(bytes);
    let Ok(mut record) = Record::from_bytes(bytes) else {
        return;
    };
    assert_eq!(Record::other_version(bytes), None);
    look(&record);
    let place = record.place;
    record.stray();
    assert_eq!(record.place, Place::Private);
    assert!(place == Place::Private || record.strays == record.names());
    look(&record);
    record.drop_files();
    assert!(record.files.iter().all(|file| !file.is_there()));
    look(&record);
});

fn look(record: &Record) {
    let written = record.to_bytes().unwrap();
    assert_eq!(Record::from_bytes(&written).as_ref(), Ok(record));
    assert_eq!(written.iter().filter(|byte| **byte == b'\n').count(), 1);

    // By its own name it is found again, in its own directory.
    let name = record.name();
    let text = name.to_string();
    assert_eq!(
        RecordName::parse(&text),
        Some((name, Kind::Record)),
        "{text:?}"
    );
    assert!(!text.contains(['/', '\0']), "{text:?}");

    for name in record.names().iter().chain(&record.strays) {
        assert_eq!(name.id(), record.session);
        assert!(!name.to_string().contains('/'));
    }
    for path in record.paths() {
        assert!(path.is_absolute() && path.starts_with(record.directory()));
    }
    assert!(record.directory_in_private().starts_with(&record.run_dir));

    let last = record.tokens().map(|token| token.expires).max();
    assert!(record.expires() <= last.unwrap_or_default());
    for file in &record.files {
        assert!(file.half_life() >= file.issued());
        assert!(
            file.is_overdue(u64::MAX)
                || file.expires() == u64::MAX
                || file.tokens.iter().any(|t| t.expires == u64::MAX)
        );
    }
}
