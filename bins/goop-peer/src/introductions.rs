//! The rendezvous servers of this peer: which ones follows from `goop.json`, at any time, not only at the start.
//!
//! One [`Client`] keeps in touch with each; what they hear goes to the network, and so does the relay of the first that
//! offers one. A server that goes away takes nothing with it: its peers stay known as long as others speak of them, and
//! another server's relay takes the place of its own. Contact that ends or comes back is a sign that the network changed.

use std::sync::Arc;
use std::time::Duration;

use goop_identity::config::{Config, ConfigStore};
use goop_identity::presence::PresenceMessage;
use goop_identity::{Identity, Keypair};
use goop_net::relay::{RelayInfo, RelayTimings};
use goop_net::{Net, PeerId, RelayState};
use goop_rendezvous::client::{self, Client, ClientConfig, Complete, Contact, Heard, ServerState};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Records of one server that may wait for the network; it takes them in microseconds.
const WAITING: usize = 64;

/// How it stands with the servers, for the pages.
pub(crate) type Servers = watch::Receiver<Arc<Vec<ServerState>>>;

/// Keeps in touch until `leave`, then says goodbye everywhere.
pub(crate) struct Introductions {
    net: Net,
    config: ConfigStore,
    keypair: Keypair,
    complete: Complete,
    /// The server of this process, if it runs one.
    own: Option<String>,
    servers: watch::Sender<Arc<Vec<ServerState>>>,
}

/// What a server said, and which.
struct Told {
    server: String,
    heard: Heard,
}

impl Introductions {
    /// `own` is the server that runs in this process.
    pub(crate) fn new(
        net: Net,
        config: ConfigStore,
        identity: &Identity,
        own: Option<String>,
    ) -> (Self, Servers) {
        let (servers, seen) = watch::channel(Arc::default());
        let complete = completing(config.clone(), identity);
        let introductions = Self {
            net,
            config,
            keypair: identity.keypair.clone(),
            complete,
            own,
            servers,
        };
        (introductions, seen)
    }

    pub(crate) async fn run(self, leave: CancellationToken) {
        let mut config = self.config.subscribe();
        loop {
            let wanted = self.wanted(&config.borrow_and_update());
            let left = self.keep(&wanted, &mut config, &leave).await;
            self.net.set_relay(None).await;
            if left {
                return;
            }
        }
    }

    fn wanted(&self, config: &Config) -> Vec<String> {
        wanted(self.own.as_deref(), config)
    }

    /// Keeps in touch with these servers until others are wanted; answers whether the peer leaves.
    async fn keep(
        &self,
        wanted: &[String],
        config: &mut watch::Receiver<Arc<Config>>,
        leave: &CancellationToken,
    ) -> bool {
        let (told, mut hears) = mpsc::channel(WAITING);
        let mut forwarding = JoinSet::new();
        let mut clients = Vec::new();
        for server in wanted {
            let (heard, mut of_server) = mpsc::channel(WAITING);
            let settings = ClientConfig {
                server: server.clone(),
                keypair: self.keypair.clone(),
                complete: self.complete.clone(),
            };
            let client = match Client::start(settings, self.net.own_record(), heard) {
                Ok(client) => client,
                Err(error) => {
                    tracing::warn!(%error, "this rendezvous server is left out");
                    continue;
                }
            };
            // As it is called in its state.
            let server = client.state().borrow().server.clone();
            let told = told.clone();
            clients.push(client);
            forwarding.spawn(async move {
                while let Some(heard) = of_server.recv().await {
                    let server = server.clone();
                    if told.send(Told { server, heard }).await.is_err() {
                        return;
                    }
                }
            });
        }
        let states = clients.iter().map(Client::state).collect();
        let watching = show(states, &self.servers);
        tokio::pin!(watching);
        let mut relays = Relays::default();
        let mut addresses = self.net.listening();
        let mut states = self.servers.subscribe();
        let mut relay_state = self.net.relay_state();
        let mut there: Vec<String> = Vec::new();
        let mut met: Vec<String> = Vec::new();
        let left = loop {
            tokio::select! {
                () = leave.cancelled() => break true,
                changed = config.changed() => {
                    if changed.is_err() {
                        break true;
                    }
                    if self.wanted(&config.borrow_and_update()) != wanted {
                        break false;
                    }
                }
                Ok(()) = addresses.changed() => clients.iter().for_each(Client::hurry),
                Some(told) = hears.recv() => match told.heard {
                    Heard::Record(record) => self.net.heard_from_rendezvous(*record).await,
                    Heard::Relay(relay) => {
                        relays.offered(told.server, relay);
                        self.choose(&mut relays, &there).await;
                    }
                },
                Ok(()) = states.changed() => {
                    let now = in_contact(&states.borrow_and_update());
                    if now != there {
                        let changed = tells_of_the_network(&met, &there, &now);
                        met.extend(now.iter().filter(|server| !met.contains(server)).cloned().collect::<Vec<_>>());
                        there = now;
                        self.choose(&mut relays, &there).await;
                        if changed {
                            self.net.network_changed().await;
                        }
                    }
                }
                Ok(()) = relay_state.changed() => {
                    relay_state.mark_unchanged();
                    self.choose(&mut relays, &there).await;
                }
                () = &mut watching => {}
            }
        };
        if left {
            // The network says goodbye first; that is the record which the clients deliver.
            let mut own = self.net.own_record();
            let said = own.wait_for(is_farewell);
            let _ = tokio::time::timeout(FAREWELL_SAID, said).await;
        }
        futures_util::future::join_all(clients.into_iter().map(Client::shutdown)).await;
        self.servers.send_replace(Arc::default());
        left
    }

    /// Tells the network which relay to use from now on, if that is another one.
    async fn choose(&self, relays: &mut Relays, there: &[String]) {
        let held = matches!(
            *self.net.relay_state().borrow(),
            RelayState::Reserved { .. }
        );
        if let Some(chosen) = relays.choose(there, held) {
            self.net.set_relay(chosen.map(as_network_wants)).await;
        }
    }
}

/// The servers that are there.
fn in_contact(states: &[ServerState]) -> Vec<String> {
    let there = states
        .iter()
        .filter(|state| state.contact != Contact::Trying);
    there.map(|state| state.server.clone()).collect()
}

/// Whether a change of the servers that are there says something of the network around us: one was lost, or found again.
/// To meet one for the first time does not, and dials under way would be begun a second time beside the first.
fn tells_of_the_network(met: &[String], there: &[String], now: &[String]) -> bool {
    let lost = there.iter().any(|server| !now.contains(server));
    let back = now
        .iter()
        .any(|server| !there.contains(server) && met.contains(server));
    lost || back
}

/// Shows how it stands with each server, whenever that changes. Never ends.
async fn show(
    mut states: Vec<watch::Receiver<ServerState>>,
    servers: &watch::Sender<Arc<Vec<ServerState>>>,
) {
    loop {
        // Marked as seen, or the next wait would end at once.
        let all = states
            .iter_mut()
            .map(|state| state.borrow_and_update().clone());
        servers.send_replace(Arc::new(all.collect()));
        if states.is_empty() {
            return std::future::pending().await;
        }
        let changes = states.iter_mut().map(|state| Box::pin(state.changed()));
        let (changed, ..) = futures_util::future::select_all(changes).await;
        if changed.is_err() {
            return std::future::pending().await;
        }
    }
}

/// How long the network may take to say goodbye before the clients deliver what there is.
const FAREWELL_SAID: Duration = Duration::from_millis(300);

fn is_farewell(record: &Option<PresenceMessage>) -> bool {
    use goop_identity::presence::PresenceKind;
    record
        .as_ref()
        .is_none_or(|record| record.kind == PresenceKind::Offline)
}

/// The own server, then those of others that the settings name (rendezvous.md 19).
fn wanted(own: Option<&str>, config: &Config) -> Vec<String> {
    let others = config.presence.servers();
    let others = others.into_iter().filter(|server| Some(*server) != own);
    own.into_iter().chain(others).map(str::to_owned).collect()
}

/// Adds what is for servers: the token that proves the e-mail address, the public key, the signature.
fn completing(config: ConfigStore, identity: &Identity) -> Complete {
    let keypair = identity.keypair.clone();
    let key = identity.nacl.as_ref().map(|keys| keys.public.to_base64());
    Arc::new(move |mut record| {
        record
            .verification_token
            .clone_from(&config.current().profile.verification_token);
        record.public_key = key.clone().unwrap_or_default();
        if let Err(error) = record.sign(&keypair) {
            tracing::warn!(%error, "a record is sent without a signature");
        }
        record
    })
}

/// Which relay is used: the first that is offered, until its server takes it back, or both it and its server are gone while
/// another server and its relay are there.
#[derive(Debug, Default)]
struct Relays {
    offers: Vec<(String, client::RelayInfo)>,
    /// The offer in use.
    used: Option<(String, client::RelayInfo)>,
}

impl Relays {
    /// A server offers a relay or takes it back.
    fn offered(&mut self, server: String, relay: Option<client::RelayInfo>) {
        let place = self.offers.iter().position(|(of, _)| *of == server);
        match (place, relay) {
            (Some(place), Some(relay)) => self.offers[place].1 = relay,
            (Some(place), None) => drop(self.offers.remove(place)),
            (None, Some(relay)) => self.offers.push((server, relay)),
            (None, None) => {}
        }
    }

    /// Answers what to use from now on, if that changed. `there`: the servers in contact; `held`: the relay in use has a
    /// place for us.
    fn choose(&mut self, there: &[String], held: bool) -> Option<Option<client::RelayInfo>> {
        let is_there = |(server, _): &&(String, client::RelayInfo)| there.contains(server);
        let used = self.used.as_ref().map(|(server, _)| server);
        // With the newest addresses.
        let current = self
            .offers
            .iter()
            .find(|(server, _)| Some(server) == used)
            .filter(|offer| held || is_there(offer));
        let chosen = current
            .or_else(|| self.offers.iter().find(is_there))
            .or_else(|| self.offers.iter().find(|(server, _)| Some(server) == used))
            .or_else(|| self.offers.first());
        let before = self.used.as_ref().map(|(_, relay)| relay);
        let now = chosen.map(|(_, relay)| relay);
        let differs = now != before;
        self.used = chosen.cloned();
        differs.then(|| self.used.as_ref().map(|(_, relay)| relay.clone()))
    }
}

fn as_network_wants(relay: client::RelayInfo) -> RelayInfo {
    let default = RelayTimings::default();
    let peer: PeerId = relay.peer;
    RelayInfo {
        peer,
        // Some forms cannot be read by anybody (rendezvous.md 11.3).
        addrs: relay
            .addrs
            .iter()
            .filter_map(|addr| addr.parse().ok())
            .collect(),
        timings: RelayTimings {
            cleanup_delay: relay.cleanup_delay.unwrap_or(default.cleanup_delay),
            poll_deadline: relay.poll_deadline.unwrap_or(default.poll_deadline),
            connect_timeout: relay.connect_timeout.unwrap_or(default.connect_timeout),
            refresh_interval: relay.refresh_interval.unwrap_or(default.refresh_interval),
            recovery_grace: relay.recovery_grace.unwrap_or(default.recovery_grace),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay(peer: PeerId) -> client::RelayInfo {
        let text =
            serde_json::json!({ "peer_id": peer.to_base58(), "addrs": ["/ip4/192.0.2.1/tcp/1"] });
        client::RelayInfo::from_json(text.to_string().as_bytes()).expect("a relay")
    }

    #[test]
    fn the_servers_follow_from_the_settings() {
        let mut config = Config::default();
        assert!(wanted(None, &config).is_empty());
        config.presence.rendezvous_wan = " https://goop.example/ ".to_owned();
        assert_eq!(wanted(None, &config), ["https://goop.example"]);
        let own = Some("http://127.0.0.1:8787");
        assert_eq!(
            wanted(own, &config),
            ["http://127.0.0.1:8787", "https://goop.example"]
        );
        config.presence.rendezvous_wan = "http://127.0.0.1:8787/".to_owned();
        assert_eq!(wanted(own, &config), ["http://127.0.0.1:8787"]);
    }

    #[test]
    fn a_server_that_is_met_first_says_nothing_of_the_network() {
        let list = |servers: &[&str]| servers.iter().map(|&server| server.to_owned()).collect();
        let check = |met: &[&str], there: &[&str], now: &[&str], expected| {
            let [met, there, now]: [Vec<String>; 3] = [met, there, now].map(list);
            let says = tells_of_the_network(&met, &there, &now);
            assert_eq!(says, expected, "{met:?}: {there:?} -> {now:?}");
        };
        check(&[], &[], &["a"], false);
        check(&["a"], &["a"], &["a", "b"], false);
        check(&["a"], &["a"], &[], true);
        check(&["a"], &[], &["a"], true);
        check(&["a", "b"], &["a"], &["a", "b"], true);
        check(&["a"], &["a"], &["b"], true);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_shown_changes_only_when_something_did() {
        let state = ServerState {
            server: "https://goop.example".to_owned(),
            contact: client::Contact::Trying,
            since: std::time::SystemTime::UNIX_EPOCH,
            problem: None,
        };
        let (one, one_seen) = watch::channel(state.clone());
        let (_two, two_seen) = watch::channel(state);
        let (servers, mut seen) = watch::channel(Arc::default());
        let showing = tokio::spawn(async move { show(vec![one_seen, two_seen], &servers).await });
        seen.changed().await.expect("the first picture");
        one.send_modify(|state| state.contact = client::Contact::Socket);
        seen.changed().await.expect("the second picture");
        assert_eq!(seen.borrow()[0].contact, client::Contact::Socket);
        let more = tokio::time::timeout(Duration::from_secs(5), seen.changed()).await;
        assert!(more.is_err(), "it is shown again and again");
        showing.abort();
    }

    #[test]
    fn the_first_relay_is_used_until_its_server_takes_it_back() {
        let (one, two) = (relay(PeerId::random()), relay(PeerId::random()));
        let both = ["a".to_owned(), "b".to_owned()];
        let mut relays = Relays::default();
        let mut offer = |server: &str, relay: Option<&client::RelayInfo>| {
            relays.offered(server.to_owned(), relay.cloned());
            relays.choose(&both, true)
        };
        assert_eq!(offer("a", None), None);
        assert_eq!(offer("a", Some(&one)), Some(Some(one.clone())));
        assert_eq!(offer("b", Some(&two)), None);
        assert_eq!(offer("a", Some(&one)), None);
        assert_eq!(offer("a", None), Some(Some(two.clone())));
        assert_eq!(offer("b", Some(&one)), Some(Some(one)));
        assert_eq!(offer("b", None), Some(None));
    }

    #[test]
    fn a_relay_that_is_gone_with_its_server_is_replaced_and_not_taken_back_while_the_other_one_works()
     {
        let (one, two) = (relay(PeerId::random()), relay(PeerId::random()));
        let servers = |names: &[&str]| -> Vec<String> {
            names.iter().map(|name| (*name).to_owned()).collect()
        };
        let mut relays = Relays::default();
        relays.offered("a".to_owned(), Some(one.clone()));
        relays.offered("b".to_owned(), Some(two.clone()));
        assert_eq!(relays.choose(&servers(&["a", "b"]), false), Some(Some(one)));
        // The server alone is gone, the relay alone is gone.
        assert_eq!(relays.choose(&servers(&["b"]), true), None);
        assert_eq!(relays.choose(&servers(&["a", "b"]), false), None);
        // Both are, and nobody has another.
        assert_eq!(relays.choose(&servers(&[]), false), None);
        assert_eq!(relays.choose(&servers(&["b"]), false), Some(Some(two)));
        assert_eq!(relays.choose(&servers(&["a", "b"]), true), None);
    }
}
