//! Which files a visitor gets, and how.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;

use goop_site::respond::respond;
use goop_site::{Site, SiteBody, SiteError, SitePath};
use http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_RANGE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use http::{HeaderMap, HeaderName, Method, Response};
use http_body_util::BodyExt;

fn site() -> (tempfile::TempDir, Site) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("site");
    fs::create_dir_all(root.join("lua/functions")).unwrap();
    fs::create_dir_all(root.join("src")).unwrap();
    fs::create_dir_all(root.join("docs/lua")).unwrap();
    for (path, text) in [
        ("index.html", "<h1>home</h1>"),
        ("docs/a b.txt", "text"),
        ("docs/lua/ok.txt", "not the scripts"),
        ("lua/secret.lua", "secret"),
        ("src/draft.html", "secret"),
        (".env", "secret"),
        ("ten.txt", "0123456789"),
    ] {
        fs::write(root.join(path), text).unwrap();
    }
    fs::write(dir.path().join("goop.json"), "secret").unwrap();
    fs::write(root.join("long.txt"), "word ".repeat(2_000)).unwrap();
    fs::write(root.join("large.bin"), vec![7; 600_000]).unwrap();
    let site = Site::open(&root, &[root.join("src"), dir.path().join("elsewhere")]).unwrap();
    (dir, site)
}

fn look(site: &Site, path: &str) -> &'static str {
    match SitePath::parse(path.as_bytes())
        .map_err(SiteError::from)
        .and_then(|path| site.get(&path))
    {
        Ok(_) => "ok",
        Err(SiteError::NotFound) => "not found",
        Err(SiteError::Forbidden) => "forbidden",
        Err(SiteError::Io(_)) => "broken",
    }
}

#[test]
fn paths() {
    let (_dir, site) = site();
    for (path, expected) in [
        ("", "ok"),
        ("/", "ok"),
        ("/index.html", "ok"),
        ("index.html", "ok"),
        ("//index.html", "ok"),
        ("/./docs/../index.html", "ok"),
        ("/docs/a b.txt", "ok"),
        ("/docs/lua/ok.txt", "ok"),
        ("/docs", "not found"),
        ("/docs/", "not found"),
        ("/none", "not found"),
        ("/index.html/x", "not found"),
        ("/../goop.json", "not found"),
        ("../goop.json", "forbidden"),
        ("docs/../../goop.json", "forbidden"),
        ("/lua", "forbidden"),
        ("/lua/secret.lua", "forbidden"),
        ("/LUA/secret.lua", "forbidden"),
        ("/docs/../lua/secret.lua", "forbidden"),
        ("/.env", "forbidden"),
        ("/docs/.git/config", "forbidden"),
        ("/src/draft.html", "forbidden"),
        ("/SRC/draft.html", "forbidden"),
        ("/a\0b", "not found"),
    ] {
        assert_eq!(look(&site, path), expected, "{path:?}");
    }
}

#[cfg(unix)]
#[test]
fn links_and_special_files() {
    use std::os::unix::fs::symlink;
    let (dir, site) = site();
    let root = dir.path().join("site");
    symlink("index.html", root.join("inside.html")).unwrap();
    symlink("../goop.json", root.join("out.json")).unwrap();
    symlink(dir.path(), root.join("up")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    assert_eq!(look(&site, "/inside.html"), "ok");
    assert_eq!(look(&site, "/out.json"), "not found");
    assert_eq!(look(&site, "/up/goop.json"), "not found");
    assert_eq!(look(&site, "/loop"), "not found");
    let pipe = std::process::Command::new("mkfifo")
        .arg(root.join("pipe"))
        .status()
        .unwrap();
    assert!(pipe.success());
    assert_eq!(look(&site, "/pipe"), "not found");
    // A root behind a link is fine.
    let link = dir.path().join("link");
    symlink(&root, &link).unwrap();
    assert_eq!(look(&Site::open(&link, &[]).unwrap(), "/index.html"), "ok");
}

fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (name.clone(), value.parse().unwrap()))
        .collect()
}

fn get(site: &Site, path: &str, pairs: &[(HeaderName, &str)]) -> Response<SiteBody> {
    respond(
        site,
        &Method::GET,
        &SitePath::parse(path.as_bytes()).unwrap(),
        &headers(pairs),
    )
    .unwrap()
}

async fn body(response: Response<SiteBody>) -> Vec<u8> {
    response
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes()
        .to_vec()
}

#[tokio::test]
async fn ranges() {
    let (_dir, site) = site();
    let etag = get(&site, "/ten.txt", &[]).headers()[ETAG]
        .to_str()
        .unwrap()
        .to_owned();
    for (range, status, range_out, expected) in [
        ("bytes=0-0", 206, "bytes 0-0/10", "0"),
        ("bytes=2-4", 206, "bytes 2-4/10", "234"),
        ("bytes=7-", 206, "bytes 7-9/10", "789"),
        ("bytes=-3", 206, "bytes 7-9/10", "789"),
        ("bytes=-99", 206, "bytes 0-9/10", "0123456789"),
        ("bytes=5-99", 206, "bytes 5-9/10", "56789"),
        ("bytes=10-", 416, "bytes */10", ""),
        ("bytes=-0", 416, "bytes */10", ""),
        ("bytes=4-2", 200, "", "0123456789"),
        ("bytes=0-1,3-4", 200, "", "0123456789"),
        ("pages=1", 200, "", "0123456789"),
    ] {
        let response = get(&site, "/ten.txt", &[(RANGE, range)]);
        assert_eq!(response.status(), status, "{range}");
        let out = response
            .headers()
            .get(CONTENT_RANGE)
            .map_or("", |value| value.to_str().unwrap())
            .to_owned();
        assert_eq!(
            (out.as_str(), body(response).await),
            (range_out, expected.as_bytes().to_vec()),
            "{range}"
        );
    }
    assert_eq!(
        get(
            &site,
            "/ten.txt",
            &[(RANGE, "bytes=2-4"), (IF_RANGE, &etag)]
        )
        .status(),
        206
    );
    assert_eq!(
        get(
            &site,
            "/ten.txt",
            &[(RANGE, "bytes=2-4"), (IF_RANGE, "\"other\"")]
        )
        .status(),
        200
    );
    let large = get(&site, "/large.bin", &[(RANGE, "bytes=599990-")]);
    assert_eq!(body(large).await, vec![7; 10]);
}

#[tokio::test]
async fn validators_and_compression() {
    let (dir, site) = site();
    let plain = get(&site, "/long.txt", &[]);
    let etag = plain.headers()[ETAG].to_str().unwrap().to_owned();
    assert!(plain.headers().get(CONTENT_ENCODING).is_none());
    let packed = get(&site, "/long.txt", &[(ACCEPT_ENCODING, "br, gzip;q=0.8")]);
    assert_eq!(packed.headers()[CONTENT_ENCODING], "gzip");
    assert_ne!(packed.headers()[ETAG].to_str().unwrap(), etag);
    let mut unpacked = Vec::new();
    std::io::Read::read_to_end(
        &mut flate2::read::GzDecoder::new(&body(packed).await[..]),
        &mut unpacked,
    )
    .unwrap();
    assert_eq!(unpacked, body(plain).await);
    assert!(
        get(&site, "/long.txt", &[(ACCEPT_ENCODING, "gzip;q=0")])
            .headers()
            .get(CONTENT_ENCODING)
            .is_none()
    );
    assert_eq!(
        get(
            &site,
            "/long.txt",
            &[(IF_NONE_MATCH, &format!("\"x\", W/{etag}"))]
        )
        .status(),
        304
    );
    // A change is seen at the next request, even one that keeps length and time of change.
    let path = dir.path().join("site/long.txt");
    let when = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, "w0rd ".repeat(2_000)).unwrap();
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(when)
        .unwrap();
    let changed = get(&site, "/long.txt", &[(IF_NONE_MATCH, &etag)]);
    assert_eq!(changed.status(), 200);
    assert!(body(changed).await.starts_with(b"w0rd"));
}

#[tokio::test]
async fn a_file_that_shrinks_is_an_error_and_never_a_short_answer() {
    let (dir, site) = site();
    let response = get(&site, "/large.bin", &[]);
    fs::File::options()
        .write(true)
        .open(dir.path().join("site/large.bin"))
        .unwrap()
        .set_len(300_000)
        .unwrap();
    assert!(response.into_body().collect().await.is_err());
    let response = get(&site, "/large.bin", &[]);
    fs::remove_file(dir.path().join("site/large.bin")).unwrap();
    // An open file stays readable when its name goes.
    assert_eq!(body(response).await.len(), 300_000);
    assert_eq!(look(&site, "/large.bin"), "not found");
}

#[cfg(unix)]
#[test]
fn names_with_any_bytes() {
    use std::os::unix::ffi::OsStrExt;
    let (dir, site) = site();
    let name = b"caf\xE9 \xFF\"<>.html";
    fs::write(
        dir.path()
            .join("site")
            .join(std::ffi::OsStr::from_bytes(name)),
        "x",
    )
    .unwrap();
    assert!(
        site.get(&SitePath::parse(&[b"/", &name[..]].concat()).unwrap())
            .is_ok()
    );
}
