//! The file of known peers: what is kept, and what a broken file means.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use goop_net::directory::{Directory, MAX_KEPT};
use goop_net::{PeerId, PeerRow};

fn row(seen: u64) -> PeerRow {
    PeerRow {
        content: format!("peer {seen}"),
        ..PeerRow::unknown(PeerId::random(), UNIX_EPOCH + Duration::from_secs(seen))
    }
}

#[test]
fn what_is_saved_is_what_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::at(&folder.path().join("data/peers.json"));
    assert_eq!(directory.load(), []);
    let mut rows: Vec<PeerRow> = (1..4).map(row).collect();
    rows[0].favorite = true;
    rows[1].met = true;
    rows[1].addrs = vec!["/ip4/10.0.0.1/tcp/1".to_owned()];
    rows[2].email = "\u{1F600} \"quoted\" \u{0}".to_owned();
    directory.save(&rows).unwrap();
    let loaded: Vec<PeerRow> = directory.load();
    let shown = |rows: &[PeerRow]| {
        rows.iter()
            .map(|row| {
                (
                    row.id,
                    row.content.clone(),
                    row.email.clone(),
                    row.favorite,
                    row.met,
                    row.last_seen,
                    row.addrs.clone(),
                )
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(shown(&loaded), shown(&rows));
}

#[test]
fn favourites_are_kept_first_then_those_met_then_those_seen_last() {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::at(&folder.path().join("peers.json"));
    let strangers = u64::try_from(2 * MAX_KEPT).unwrap();
    let mut rows: Vec<PeerRow> = (10..10 + strangers).map(row).collect();
    let friend = PeerRow {
        favorite: true,
        ..row(1)
    };
    let met = PeerRow {
        met: true,
        ..row(2)
    };
    rows.push(met.clone());
    rows.push(friend.clone());
    directory.save(&rows).unwrap();
    let loaded = directory.load();
    assert_eq!(loaded.len(), MAX_KEPT + 1);
    assert_eq!([loaded[0].id, loaded[1].id], [friend.id, met.id]);
    assert_eq!(loaded[2].content, format!("peer {}", 9 + strangers));
}

#[test]
fn a_broken_file_is_set_aside_and_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("peers.json");
    fs::write(&path, "{\"peers\": [").unwrap();
    let directory = Directory::at(&path);
    assert_eq!(directory.load(), []);
    assert_eq!(
        fs::read_to_string(folder.path().join("peers.json.broken")).unwrap(),
        "{\"peers\": ["
    );
    directory.save(&[row(1)]).unwrap();
    assert_eq!(directory.load().len(), 1);
}

#[test]
fn a_row_that_makes_no_sense_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("peers.json");
    let good = PeerId::random();
    let text = format!(
        r#"{{"peers": [{{"id": "nonsense"}}, 7, {{"id": "{good}", "content": 3}}, {{"id": "{good}", "lastSeen": 18446744073709551615, "later": true}}]}}"#
    );
    fs::write(&path, text).unwrap();
    let ids: Vec<PeerId> = Directory::at(&path)
        .load()
        .iter()
        .map(|row| row.id)
        .collect();
    assert_eq!(ids, [good]);
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error_and_the_old_file_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("peers.json");
    // A folder in the place of the file: even root cannot replace it by a file.
    fs::create_dir_all(path.join("in the way")).unwrap();
    assert!(Directory::at(&path).save(&[row(1)]).is_err());
    assert!(path.join("in the way").exists());
}
