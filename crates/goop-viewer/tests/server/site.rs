//! The own site: files, and the whole of it in one.

use serde_json::{Value, json};

use crate::harness::{alice, dechunk, multipart, part};

#[tokio::test]
async fn two_writers_of_one_file_both_keep_their_text() {
    let alice = alice().await;
    let opened = alice.read("/api/site/content?path=index.html").await;
    let (status, first) = alice
        .post(
            "/api/site/save",
            json!({"path": "index.html", "content": "one", "if_match": opened["etag"]}),
        )
        .await;
    assert_eq!((status, &first["status"]), (200, &json!("saved")));
    let (status, conflict) = alice
        .post(
            "/api/site/save",
            json!({"path": "index.html", "content": "two", "if_match": opened["etag"]}),
        )
        .await;
    assert_eq!(status, 409);
    assert_eq!(
        (&conflict["content"], &conflict["etag"]),
        (&json!("one"), &first["etag"])
    );
    let (status, _) = alice
        .post(
            "/api/site/save",
            json!({"path": "index.html", "content": "two", "if_match": conflict["etag"]}),
        )
        .await;
    assert_eq!(status, 200);
    let (status, conflict) = alice
        .post(
            "/api/site/save",
            json!({"path": "sub/index.html", "content": "x", "if_match": "none"}),
        )
        .await;
    assert_eq!((status, &conflict["error"]), (409, &json!("conflict")));
    alice.end().await;
}

#[tokio::test]
async fn files_are_moved_copied_deleted_and_brought_back() {
    let alice = alice().await;
    assert_eq!(
        alice
            .post("/api/site/mkdir", json!({"path": "a/b"}))
            .await
            .0,
        200
    );
    assert_eq!(
        alice
            .post(
                "/api/site/copy",
                json!({"from": "index.html", "to": "a/b/c.html"})
            )
            .await
            .0,
        200
    );
    assert_eq!(
        alice
            .post("/api/site/rename", json!({"from": "a", "to": "d"}))
            .await
            .0,
        200
    );
    assert_eq!(
        alice
            .post(
                "/api/site/rename",
                json!({"from": "d/b/c.html", "to": "index.html"})
            )
            .await
            .0,
        409
    );
    let (status, deleted) = alice.post("/api/site/delete", json!({"path": "d"})).await;
    assert_eq!(status, 200);
    assert_eq!(
        alice.get("/api/site/content?path=d/b/c.html").await.status,
        404
    );
    let (status, restored) = alice
        .post("/api/site/undo", json!({"undo": deleted["undo"]}))
        .await;
    assert_eq!((status, &restored["path"]), (200, &json!("d")));
    let found = alice.read("/api/site/search?q=hello%20from").await;
    assert_eq!(found["matches"][0]["path"], "d/b/c.html");
    assert_eq!(
        alice
            .post("/api/site/undo", json!({"undo": deleted["undo"]}))
            .await
            .0,
        404
    );
    alice.end().await;
}

#[tokio::test]
async fn a_large_file_is_uploaded_as_it_comes_and_one_of_this_machine_is_taken() {
    let alice = alice().await;
    let content = vec![b'x'; 3 * 1024 * 1024];
    let mut body =
        b"--b\r\nContent-Disposition: form-data; name=\"path\"\r\n\r\nbig/x.bin\r\n--b\r\n\
        Content-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\n"
            .to_vec();
    body.extend_from_slice(&content);
    body.extend_from_slice(b"\r\n--b--\r\n");
    let form = "Content-Type: multipart/form-data; boundary=b".to_owned();
    let answer = alice
        .send("POST", "/api/site/upload", &[alice.owner(), form], &body)
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let opened = alice.read("/api/site/content?path=big/x.bin").await;
    assert_eq!(
        (&opened["size"], &opened["binary"]),
        (&json!(content.len()), &json!(false))
    );

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("note.txt"), "a note").unwrap();
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    std::fs::write(folder.path().join(".hidden"), "").unwrap();
    let dir = folder.path().display().to_string();
    let listed = alice.read(&format!("/api/fs/browse?dir={dir}")).await;
    let expected =
        json!([{"name": "sub", "is_dir": true}, {"name": "note.txt", "is_dir": false, "size": 6}]);
    assert_eq!(listed["entries"], expected);
    let from = json!({"dest_path": "note.txt", "src_path": format!("{dir}/note.txt")});
    assert_eq!(alice.post("/api/site/upload-local", from).await.0, 200);
    assert_eq!(
        alice.read("/api/site/content?path=note.txt").await["content"],
        "a note"
    );
    alice.end().await;
}

#[tokio::test]
async fn a_site_goes_out_and_comes_in_again() {
    let alice = alice().await;
    let exported = alice.get("/api/site/export").await;
    let named = exported.header("content-disposition").unwrap();
    assert!(
        named.starts_with("attachment; filename=\"goop-export-Alice-") && named.ends_with(".zip\""),
        "{named}"
    );
    assert_eq!(
        exported.header("content-type").as_deref(),
        Some("application/zip")
    );
    let zip = dechunk(&exported.body);
    alice
        .post(
            "/api/site/save",
            json!({"path": "index.html", "content": "changed", "if_match": "any"}),
        )
        .await;
    alice
        .post(
            "/api/site/save",
            json!({"path": "extra.html", "content": "extra"}),
        )
        .await;
    let (kind, body) = multipart(&[part("csrf", false, b"x"), part("file", true, &zip)]);
    let answer = alice
        .send(
            "POST",
            "/api/site/import?replace=true",
            &[alice.owner(), kind],
            &body,
        )
        .await;
    let done: Value =
        serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{}", answer.text()));
    assert_eq!(done["status"], "imported");
    assert!(
        alice.read("/api/site/content").await["content"]
            .as_str()
            .unwrap()
            .contains("Hello from Alice")
    );
    assert_eq!(
        alice.get("/api/site/content?path=extra.html").await.status,
        404
    );
    let kept = std::path::Path::new(done["backup"].as_str().unwrap()).join("site/extra.html");
    assert_eq!(std::fs::read_to_string(kept).unwrap(), "extra");

    let (kind, body) = multipart(&[part("file", true, b"not a zip")]);
    let answer = alice
        .send("POST", "/api/site/import", &[alice.owner(), kind], &body)
        .await;
    assert_eq!(answer.status, 400);
    assert!(
        answer.text().starts_with("failed to extract zip"),
        "{}",
        answer.text()
    );
    let nothing = alice
        .send("POST", "/api/site/import", &[alice.owner()], b"")
        .await;
    assert_eq!(
        (nothing.status, nothing.text().as_str()),
        (400, "file required\n")
    );
    alice.end().await;
}
