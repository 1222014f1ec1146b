//! Peers that are asked whether strangers reach us, and lie.

use goop_identity::Keypair;
use libp2p::PeerId;
use prost::Message;
use tokio::io::AsyncWriteExt;

use super::raw::RawPeer;
use super::{eventually, host, within};
use crate::Net;
use crate::autonat::{self, DialResponse, Envelope, Said};
use crate::circuit::message;
use crate::stream::Stream;

const ID: &str = "/ipfs/id/1.0.0";
const REQUEST: &str = "/libp2p/autonat/2/dial-request";
const DIAL_BACK: &str = "/libp2p/autonat/2/dial-back";

/// What identify says, as far as it matters here.
#[derive(Clone, PartialEq, Message)]
struct Identify {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(string, repeated, tag = "3")]
    protocols: Vec<String>,
}

/// A peer that is asked; it says so of itself on each connection.
async fn judge(net: &Net) -> RawPeer {
    let key = Keypair::generate_ed25519();
    let mut raw = RawPeer::start(key.clone(), &[ID, REQUEST]).await;
    net.add_known_addrs(raw.id, vec![raw.addr.clone()]).await;
    let said = Identify {
        key: key.public().encode_protobuf(),
        protocols: vec![REQUEST.to_owned()],
    };
    let mut stream = raw.accept(ID).await;
    stream.write_all(&message::encode(&said)).await.unwrap();
    raw
}

/// The next question, and the nonce that is to come back.
async fn question(raw: &mut RawPeer) -> (Stream, u64) {
    let mut stream = raw.accept(REQUEST).await;
    let asked: Envelope = message::read(&mut stream).await.unwrap();
    let Some(Said::Request(request)) = asked.said else {
        panic!("{asked:?}");
    };
    assert_eq!(request.addrs.len(), 1);
    (stream, request.nonce)
}

/// Says that the dial came through.
async fn claim(mut stream: Stream) {
    let response = DialResponse {
        status: 200,
        index: 0,
        dial: 200,
    };
    let said = Some(Said::Response(response));
    message::write(&mut stream, &Envelope { said })
        .await
        .unwrap();
}

async fn prove(raw: &RawPeer, net: PeerId, nonce: u64) -> bool {
    let stream = raw.open(net, DIAL_BACK).await;
    within("an answer", autonat::dial_back(stream, nonce))
        .await
        .is_ok()
}

fn confirmed(net: &Net) -> usize {
    net.outside().borrow().confirmed.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_counts_over_a_connection_that_was_made_for_it() {
    let net = host().await;
    let me = net.local_peer_id();
    let mut raw = judge(&net).await;
    let (stream, nonce) = question(&mut raw).await;
    assert!(!prove(&raw, me, nonce).await, "over the old connection");
    raw.dial(me, net.listen_addrs()[0].clone()).await;
    assert!(!prove(&raw, me, nonce ^ 1).await, "another nonce");
    assert!(prove(&raw, me, nonce).await);
    assert_eq!(confirmed(&net), 0, "it did not say yet that it is done");
    claim(stream).await;
    eventually("a confirmed address", || confirmed(&net) == 1).await;
    assert!(!prove(&raw, me, nonce).await, "it was waited for once");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_it_came_through_and_did_not_confirms_nothing() {
    let net = host().await;
    let mut liar = judge(&net).await;
    let (stream, nonce) = question(&mut liar).await;
    let mut other = judge(&net).await;
    other
        .dial(net.local_peer_id(), net.listen_addrs()[0].clone())
        .await;
    assert!(
        !prove(&other, net.local_peer_id(), nonce).await,
        "somebody else's proof"
    );
    claim(stream).await;
    // The same address is asked about again, so it counts as not known.
    question(&mut other).await;
    assert_eq!(confirmed(&net), 0);
}
