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
pub(crate) const PORT: u16 = 8787;
pub(crate) const RELAY: u16 = 4001;
const RELAY_WS: u16 = 4002;

/// The password of its admin pages.
pub(crate) const PASSWORD: &str = "open sesame";

/// What stands before it on port 443. Each runs the file that `docs/deploy-rendezvous.md` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proxy {
    Nothing,
    Nginx,
    Caddy,
}

/// A server, which may be killed and started again.
pub(crate) struct Rendezvous {
    host: Host,
    address: Ipv4Addr,
    folder: PathBuf,
    program: PathBuf,
    certificate: PathBuf,
    log: PathBuf,
    server: Option<Child>,
    proxy: Option<Child>,
    _hosts: Option<Mount>,
}

impl Rendezvous {
    /// Starts a server behind nginx, and waits until both answer.
    pub(crate) fn start(lab: &Lab, host: &Host, address: Ipv4Addr) -> Result<Self> {
        Self::behind(lab, host, address, Proxy::Nginx)
    }

    /// Starts a server behind something, and waits until both answer. One server of a scenario may have a proxy.
    pub(crate) fn behind(lab: &Lab, host: &Host, address: Ipv4Addr, proxy: Proxy) -> Result<Self> {
        Self::on(lab, host, (address, "0.0.0.0"), proxy)
    }

    /// Starts a server without a proxy that listens on IPv6 too.
    pub(crate) fn of_both_families(lab: &Lab, host: &Host, address: Ipv4Addr) -> Result<Self> {
        Self::on(lab, host, (address, "::"), Proxy::Nothing)
    }

    /// The same at an address, bound to what is given.
    fn on(lab: &Lab, host: &Host, (address, bind): (Ipv4Addr, &str), proxy: Proxy) -> Result<Self> {
        let folder = lab.folder().join(format!("rendezvous-{}", host.name()));
        fs::create_dir_all(&folder)?;
        let external = match proxy {
            Proxy::Nothing => format!("http://{address}:{PORT}"),
            Proxy::Nginx | Proxy::Caddy => format!("https://{NAME}"),
        };
        fs::write(
            folder.join("goop.json"),
            serde_json::json!({"presence": {
                "rendezvous_host": true,
                "rendezvous_only": true,
                "rendezvous_bind": bind,
                "rendezvous_port": PORT,
                "relay_port": RELAY,
                "relay_ws_port": RELAY_WS,
                "external_url": external,
                "admin_password": PASSWORD,
            }})
            .to_string(),
        )?;
        let hosts = match proxy {
            Proxy::Nothing => None,
            Proxy::Nginx | Proxy::Caddy => {
                let names = folder.join("hosts");
                fs::write(&names, format!("127.0.0.1 localhost\n{address} {NAME}\n"))?;
                Some(Mount::over(Path::new("/etc/hosts"), &names)?)
            }
        };
        let certificate = folder.join("certificate.pem");
        let mut this = Self {
            host: host.clone(),
            address,
            program: lab.bin("goop2"),
            log: folder.with_extension("log"),
            server: None,
            proxy: start_proxy(proxy, host, &folder, &certificate)?,
            certificate,
            folder,
            _hosts: hosts,
        };
        this.run()?;
        Ok(this)
    }

    /// Starts the server, the first time or again, and waits until it answers.
    pub(crate) fn run(&mut self) -> Result<()> {
        let file = File::options().create(true).append(true).open(&self.log)?;
        self.server = Some(
            self.host
                .command(&self.program)
                .arg("rendezvous")
                .arg(&self.folder)
                .stdout(file.try_clone()?)
                .stderr(file)
                .spawn()
                .context("goop2 could not be started")?,
        );
        self.wait()
    }

    /// Kills the server, and its relay with it. A proxy stays.
    pub(crate) fn kill(&mut self) -> Result<()> {
        let mut server = self.server.take().context("it does not run")?;
        server.kill()?;
        server.wait()?;
        Ok(())
    }

    fn wait(&mut self) -> Result<()> {
        let certificate = self.certificate.display().to_string();
        let here = format!("http://127.0.0.1:{PORT}/relay");
        let proxied = self.proxy.as_ref().map(|_| format!("https://{NAME}/relay"));
        for url in [Some(here), proxied].into_iter().flatten() {
            let trust: &[&str] = match url.starts_with("https") {
                true => &["--cacert", &certificate],
                false => &[],
            };
            let args: Vec<&str> = trust.iter().copied().chain([url.as_str()]).collect();
            wait(&format!("{url} answers"), START, || {
                let server = self.server.as_mut().context("it does not run")?;
                if let Some(status) = server.try_wait()? {
                    bail!("the server ended at its start ({status})");
                }
                let answer = curl(&self.host, &args)?;
                ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
                Ok(Some(()))
            })
            .with_context(|| tail(&self.log()))?;
        }
        Ok(())
    }

    /// Its address over HTTPS.
    pub(crate) fn secure_url(&self) -> String {
        format!("https://{NAME}")
    }

    /// Where a peer with such an access finds it.
    pub(crate) fn url(&self, nat: Nat) -> String {
        match nat {
            Nat::HttpsOnly => self.secure_url(),
            _ => format!("http://{}:{PORT}", self.address),
        }
    }

    /// The certificate that its visitors have to trust.
    pub(crate) fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// What the doctor says of its folder.
    pub(crate) fn doctor(&self) -> Result<String> {
        let output = self
            .host
            .command(&self.program)
            .arg("doctor")
            .arg(&self.folder)
            .env("SSL_CERT_FILE", &self.certificate)
            .output()
            .context("goop2 could not be started")?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What it printed.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Rendezvous {
    fn drop(&mut self) {
        for child in [&mut self.server, &mut self.proxy].into_iter().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

const NGINX: &str = include_str!("../../../deploy/rendezvous.nginx.conf");
const CADDY: &str = include_str!("../../../deploy/rendezvous.Caddyfile");

/// The name and the certificate's paths of the examples, which whoever runs one replaces.
const EXAMPLE: &str = "rv.example.org";
const EXAMPLE_CERTIFICATE: &str = "/etc/ssl/rv.example.org.pem";
const EXAMPLE_KEY: &str = "/etc/ssl/rv.example.org.key";

fn start_proxy(
    proxy: Proxy,
    host: &Host,
    folder: &Path,
    certificate: &Path,
) -> Result<Option<Child>> {
    if proxy == Proxy::Nothing {
        return Ok(None);
    }
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed([NAME.to_owned()])?;
    let key = folder.join("certificate.key");
    fs::write(certificate, cert.pem())?;
    fs::write(&key, signing_key.serialize_pem())?;
    let adapted = |example: &str| {
        example
            .replace(EXAMPLE_CERTIFICATE, &certificate.display().to_string())
            .replace(EXAMPLE_KEY, &key.display().to_string())
            .replace(EXAMPLE, NAME)
    };
    let mut command;
    if proxy == Proxy::Caddy {
        let file = folder.join("Caddyfile");
        fs::write(&file, adapted(CADDY).replace("#tls ", "tls "))?;
        command = host.command("caddy");
        command
            .args(["run", "--adapter", "caddyfile", "--config"])
            .arg(file)
            // Where it keeps what it needs.
            .env("HOME", folder)
            .env("XDG_DATA_HOME", folder)
            .env("XDG_CONFIG_HOME", folder);
    } else {
        // What Debian's nginx.conf has around the files of conf.d, but for this folder.
        let at = folder.display();
        fs::write(folder.join("site.conf"), adapted(NGINX))?;
        let around = format!(
            "daemon off; user root; pid {at}/pid; error_log {at}/error.log; events {{}}\n\
             http {{ access_log off; client_body_temp_path {at}; proxy_temp_path {at}; fastcgi_temp_path {at}; \
             uwsgi_temp_path {at}; scgi_temp_path {at}; include {at}/site.conf; }}\n"
        );
        fs::write(folder.join("nginx.conf"), around)?;
        command = host.command("nginx");
        command.arg("-c").arg(folder.join("nginx.conf"));
        command.arg("-p").arg(folder);
    }
    let log = File::create(folder.join("proxy.log"))?;
    command.stdout(log.try_clone()?).stderr(log);
    let child = command
        .spawn()
        .context("the proxy is missing: cargo xtask setup")?;
    Ok(Some(child))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_shows_the_files_that_run_here() {
        let guide = include_str!("../../../docs/deploy-rendezvous.md");
        for file in [NGINX, CADDY] {
            assert!(
                guide.contains(file),
                "the guide shows another one than\n{file}"
            );
            assert!(file.contains(EXAMPLE_CERTIFICATE) && file.contains(EXAMPLE_KEY));
        }
    }
}
