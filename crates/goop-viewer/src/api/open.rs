//! Opening an address in the person's own browser (viewer-api.md 18).

use axum::extract::{Query, State};
use axum::response::Response;
use http::StatusCode;
use http::header::REFERER;
use http::{HeaderMap, Uri};
use serde::Deserialize;
use url::Url;

use crate::base::Base;
use crate::reply::{error, redirect};

/// Longest address. Longer ones do not fit a command line everywhere.
const MAX_URL: usize = 2 * 1024;

#[derive(Deserialize, utoipa::IntoParams)]
pub(crate) struct Wanted {
    /// An `http` or `https` address, at most 2 KiB.
    #[serde(default)]
    url: String,
}

/// Opens an address in the system's browser, then leads back to where the person was, or to the page Me.
#[utoipa::path(get, path = "/open", tag = "settings", params(Wanted),
    responses((status = 302), (status = 400, description = "`missing url`, `invalid url` or `scheme not allowed`"),
        (status = 500, description = "there is no browser that could be opened")))]
pub(crate) async fn open(
    State(base): State<Base>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Response {
    let url = match allowed(&wanted.url) {
        Ok(url) => url,
        Err(text) => return error(StatusCode::BAD_REQUEST, text),
    };
    let opener = base.desk.open.clone();
    // The opener is a program; starting it waits for the disk.
    let opened = tokio::task::spawn_blocking(move || opener(url.as_str())).await;
    match opened {
        Ok(Ok(())) => redirect(StatusCode::FOUND, &back(&base, &headers)),
        Ok(Err(failure)) => error(
            StatusCode::INTERNAL_SERVER_ERROR,
            &format!("failed to open browser: {failure}"),
        ),
        Err(_) => error(StatusCode::INTERNAL_SERVER_ERROR, "failed to open browser"),
    }
}

/// As `GET /open`.
#[utoipa::path(post, path = "/open", tag = "settings", params(Wanted), responses((status = 302), (status = 400), (status = 500)))]
pub(crate) async fn open_by_post(
    state: State<Base>,
    wanted: Query<Wanted>,
    headers: HeaderMap,
) -> Response {
    open(state, wanted, headers).await
}

fn allowed(text: &str) -> Result<Url, &'static str> {
    let text = text.trim();
    if text.is_empty() {
        return Err("missing url");
    }
    if text.len() > MAX_URL {
        return Err("invalid url");
    }
    let url = Url::parse(text).map_err(|_| "invalid url")?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        "http" | "https" => Err("invalid url"),
        _ => Err("scheme not allowed"),
    }
}

/// The page the person was on, if it is one of ours.
fn back(base: &Base, headers: &HeaderMap) -> String {
    let from = headers.get(REFERER).and_then(|from| from.to_str().ok());
    let from = from.and_then(|from| from.parse::<Uri>().ok());
    let own = |uri: &Uri| {
        uri.port_u16() == Some(base.control_port)
            && matches!(uri.host(), Some("127.0.0.1" | "localhost" | "[::1]"))
    };
    from.filter(own)
        .and_then(|uri| Some(uri.path_and_query()?.as_str().to_owned()))
        // `//x` would be another host.
        .filter(|path| path.starts_with('/') && !path.starts_with("//"))
        .unwrap_or_else(|| "/self".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_web_addresses_are_opened() {
        for (text, expected) in [
            ("", Err("missing url")),
            ("  ", Err("missing url")),
            ("no address", Err("invalid url")),
            ("http://", Err("invalid url")),
            ("file:///etc/passwd", Err("scheme not allowed")),
            ("javascript:alert(1)", Err("scheme not allowed")),
            ("--help", Err("invalid url")),
            ("https://a.example/x y", Ok("https://a.example/x%20y")),
        ] {
            let found = allowed(text);
            let found = found.as_ref().map(Url::as_str).map_err(|text| *text);
            assert_eq!(found, expected, "{text:?}");
        }
        assert!(allowed(&format!("http://{}", "x".repeat(5_000))).is_err());
    }
}
