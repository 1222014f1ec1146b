//! A real rendezvous server on a public host, as somebody runs one: the program itself with its relay, and a proxy for
//! HTTPS before it (rendezvous.md 21).

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::lab::{Host, Lab, Mount, Nat, wait};
use crate::peer::{curl, tail};

/// How long a start may take on a busy machine.
const START: Duration = Duration::from_secs(15);
/// Its name, for those who come over HTTPS. Names of `.test` and `.invalid` count as private.
const NAME: &str = "meet.goop.example";
const PORT: u16 = 8787;
const RELAY: u16 = 4001;
const RELAY_WS: u16 = 4002;

/// A running server.
pub(crate) struct Rendezvous {
    address: Ipv4Addr,
    certificate: PathBuf,
    log: PathBuf,
    server: Child,
    proxy: Child,
    _hosts: Mount,
}

impl Rendezvous {
    /// Starts a server and its proxy, and waits until both answer.
    pub(crate) fn start(lab: &Lab, host: &Host, address: Ipv4Addr) -> Result<Self> {
        let folder = lab.folder().join("rendezvous");
        fs::create_dir_all(&folder)?;
        fs::write(
            folder.join("goop.json"),
            serde_json::json!({"presence": {
                "rendezvous_host": true,
                "rendezvous_only": true,
                "rendezvous_bind": "0.0.0.0",
                "rendezvous_port": PORT,
                "relay_port": RELAY,
                "relay_ws_port": RELAY_WS,
                "external_url": format!("https://{NAME}"),
            }})
            .to_string(),
        )?;
        let names = folder.join("hosts");
        fs::write(&names, format!("127.0.0.1 localhost\n{address} {NAME}\n"))?;
        let hosts = Mount::over(Path::new("/etc/hosts"), &names)?;
        let log = folder.with_extension("log");
        let file = File::create(&log)?;
        let server = host
            .command(lab.bin("goop2"))
            .arg("rendezvous")
            .arg(&folder)
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .context("goop2 could not be started")?;
        let certificate = folder.join("certificate.pem");
        let proxy = proxy(host, &folder, &certificate)?;
        let mut this = Self {
            address,
            certificate,
            log,
            server,
            proxy,
            _hosts: hosts,
        };
        this.wait(host)?;
        Ok(this)
    }

    fn wait(&mut self, host: &Host) -> Result<()> {
        let certificate = self.certificate.display().to_string();
        let urls = [
            format!("http://127.0.0.1:{PORT}/relay"),
            format!("https://{NAME}/relay"),
        ];
        for url in &urls {
            wait(&format!("{url} answers"), START, || {
                if let Some(status) = self.server.try_wait()? {
                    bail!("the server ended at its start ({status})");
                }
                let answer = curl(host, &["--cacert", &certificate, url])?;
                ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
                Ok(Some(()))
            })
            .with_context(|| tail(&self.log()))?;
        }
        Ok(())
    }

    /// Where a peer with such an access finds it.
    pub(crate) fn url(&self, nat: Nat) -> String {
        match nat {
            Nat::HttpsOnly => format!("https://{NAME}"),
            _ => format!("http://{}:{PORT}", self.address),
        }
    }

    /// The certificate that its visitors have to trust.
    pub(crate) fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// What it printed.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Rendezvous {
    fn drop(&mut self) {
        for child in [&mut self.server, &mut self.proxy] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// HTTPS on port 443: WebSockets of path `/` are the relay's, everything else is the server's.
fn proxy(host: &Host, folder: &Path, certificate: &Path) -> Result<Child> {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed([NAME.to_owned()])?;
    let key = folder.join("certificate.key");
    fs::write(certificate, cert.pem())?;
    fs::write(&key, signing_key.serialize_pem())?;
    let (at, certificate, key) = (folder.display(), certificate.display(), key.display());
    let upgrade = "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; \
        proxy_set_header Connection $connection_header; proxy_set_header Host $host; \
        proxy_set_header X-Forwarded-For $remote_addr; proxy_read_timeout 1h; proxy_buffering off;";
    let config = format!(
        "daemon off; user root; pid {at}/pid; error_log {at}/error.log; events {{}}\n\
         http {{ access_log off; client_body_temp_path {at}; proxy_temp_path {at}; fastcgi_temp_path {at}; \
         uwsgi_temp_path {at}; scgi_temp_path {at};\n\
         map $http_upgrade $connection_header {{ default upgrade; '' close; }}\n\
         map $http_upgrade $root {{ default http://127.0.0.1:{RELAY_WS}; '' http://127.0.0.1:{PORT}; }}\n\
         server {{ listen 443 ssl; ssl_certificate {certificate}; ssl_certificate_key {key};\n\
         location = / {{ proxy_pass $root; {upgrade} }}\n\
         location / {{ proxy_pass http://127.0.0.1:{PORT}; {upgrade} }} }} }}\n"
    );
    fs::write(folder.join("nginx.conf"), config)?;
    host.command("nginx")
        .arg("-c")
        .arg(folder.join("nginx.conf"))
        .arg("-p")
        .arg(folder)
        .spawn()
        .context("`nginx` is missing: cargo xtask setup")
}
