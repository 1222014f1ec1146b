//! Dialling for others: which of their addresses, and what it costs them.

use std::net::IpAddr;
use std::time::Duration;

use libp2p::Multiaddr;
use rand::RngExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::{
    AutonatError, DIAL_ERROR, DataRequest, DialResponse, MAX_DATA, MAX_DATA_MESSAGE, MIN_DATA, OK,
    PROOF_ERROR, REFUSED, REJECTED, Said, read, write,
};
use crate::address::{Vicinity, ip_of, is_private, without_peer};
use crate::circuit::message::MAX_MESSAGE;

/// Addresses of a question that are looked at.
const MAX_ADDRS: usize = 16;
/// How long the question may take to come.
const QUESTION: Duration = Duration::from_secs(5);
/// How long the data for a foreign address may take to come: 100 kB at 10 kB a second.
const DATA: Duration = Duration::from_secs(10);
/// Fewest bytes of data in a message that is not the last.
const SMALL: usize = 100;
/// Longest pause before a foreign address is dialled, so that many of us cannot be made to knock somewhere at one moment (the
/// protocol's specification).
const PAUSE: Duration = Duration::from_secs(3);

/// What a dial for somebody came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialled {
    /// The proof was taken.
    Proven,
    /// Nobody answers there, or somebody else.
    NoAnswer,
    /// It answers and did not take the proof.
    NotProven,
    /// It was not dialled.
    Not,
}

/// An address to dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Its place in the question.
    pub index: usize,
    /// Without a peer at its end.
    pub addr: Multiaddr,
    /// It is not at the machine that asks, so asking for it must cost as much as it may cost others.
    pub pays: bool,
}

/// The first address that may be dialled for somebody who is connected from `theirs`: plain IP addresses that are plausible
/// from here, private ones only if it is the asker's own, and none of `ours`, which says nothing about strangers.
#[must_use]
pub fn choose(
    vicinity: Vicinity,
    ours: &[IpAddr],
    theirs: &[IpAddr],
    addrs: &[Vec<u8>],
) -> Option<Choice> {
    addrs
        .iter()
        .take(MAX_ADDRS)
        .enumerate()
        .find_map(|(index, bytes)| {
            let addr = without_peer(Multiaddr::try_from(bytes.clone()).ok()?);
            let ip = ip_of(&addr).filter(|_| vicinity.plausible(&addr))?;
            let own = theirs.contains(&ip);
            let may = !ours.contains(&ip) && (own || !is_private(ip));
            may.then_some(Choice {
                index,
                addr,
                pays: !own,
            })
        })
}

/// Answers one question. `choose` names the address, `may` says whether whoever asks may have something dialled now, `dial`
/// does it.
///
/// # Errors
/// See [`AutonatError`]; nothing was dialled then, unless the answer could not be written.
pub async fn serve<S>(
    mut stream: S,
    choose: impl FnOnce(&[Vec<u8>]) -> Option<Choice>,
    may: impl FnOnce() -> bool,
    dial: impl AsyncFnOnce(Multiaddr, u64) -> Dialled,
) -> Result<(), AutonatError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let question = timeout(QUESTION, read(&mut stream, MAX_MESSAGE)).await;
    let Said::Request(request) = question.map_err(|_| AutonatError::TimedOut)?? else {
        return Err(AutonatError::Malformed("it is no question"));
    };
    let refuse = |status| DialResponse {
        status,
        ..DialResponse::default()
    };
    let Some(choice) = choose(&request.addrs) else {
        return Ok(write(&mut stream, Said::Response(refuse(REFUSED))).await?);
    };
    if !may() {
        return Ok(write(&mut stream, Said::Response(refuse(REJECTED))).await?);
    }
    let index = u32::try_from(choice.index).unwrap_or(u32::MAX);
    if choice.pays {
        timeout(DATA, take_data(&mut stream, index))
            .await
            .map_err(|_| AutonatError::TimedOut)??;
        let pause = rand::rng().random_range(Duration::ZERO..=PAUSE);
        tokio::time::sleep(pause).await;
    }
    let response = match dial(choice.addr, request.nonce).await {
        Dialled::Not => refuse(REJECTED),
        dialled => DialResponse {
            status: OK,
            index,
            dial: match dialled {
                Dialled::Proven => OK,
                Dialled::NotProven => PROOF_ERROR,
                Dialled::NoAnswer | Dialled::Not => DIAL_ERROR,
            },
        },
    };
    Ok(write(&mut stream, Said::Response(response)).await?)
}

/// Asks for data and takes all of it.
async fn take_data<S>(stream: &mut S, index: u32) -> Result<(), AutonatError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let bytes = rand::rng().random_range(MIN_DATA..=MAX_DATA);
    write(stream, Said::DataRequest(DataRequest { index, bytes })).await?;
    let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
    while left > 0 {
        let Said::Data(part) = read(stream, MAX_DATA_MESSAGE).await? else {
            return Err(AutonatError::Malformed("it is no data"));
        };
        let came = part.data.len();
        if came < SMALL.min(left) {
            return Err(AutonatError::Malformed("it is too little data at once"));
        }
        left = left.saturating_sub(came);
    }
    Ok(())
}
