//! The names of what is counted, with a description each, for whatever recorder the program installed.

use metrics::{describe_counter, describe_gauge};

/// Describes every metric of this crate. Doing it again changes nothing.
pub(crate) fn describe() {
    describe_counter!(
        "goop_net_connections",
        "Connections that came up, both directions"
    );
    describe_counter!("goop_net_connections_closed", "Connections that went down");
    describe_gauge!("goop_net_connected_peers", "Peers with a connection");
    describe_gauge!("goop_net_peers", "Peers in the table");
    describe_counter!("goop_net_dials", "Dials that were started");
    describe_counter!("goop_net_dials_failed", "Dials that failed");
    describe_counter!("goop_net_streams_opened", "Streams we opened");
    describe_counter!("goop_net_streams_accepted", "Streams others opened");
    describe_counter!(
        "goop_net_streams_refused",
        "Streams of others that were reset because there were too many"
    );
    describe_counter!("goop_net_handler_panics", "Protocol handlers that panicked");
    describe_counter!("goop_net_probes", "Reachability probes that were started");
    describe_counter!(
        "goop_net_probes_failed",
        "Reachability probes without an answer"
    );
    describe_counter!("goop_net_presence_in", "Presence records that counted");
    describe_counter!(
        "goop_net_presence_refused",
        "Presence records that were malformed or signed by somebody else"
    );
    describe_counter!(
        "goop_net_relay_reservations",
        "Reservations we asked a relay for"
    );
    describe_counter!(
        "goop_net_circuits_out",
        "Dials through a relay that were started"
    );
    describe_counter!("goop_net_circuits_in", "Calls through a relay we took");
    describe_counter!("goop_net_punches", "Holes that were tried");
    describe_counter!("goop_net_punched", "Direct connections that came of it");
    describe_counter!(
        "goop_net_checks",
        "Times somebody was asked whether it reaches us"
    );
    describe_counter!(
        "goop_net_dials_for_others",
        "Dials for others who asked that"
    );
    describe_counter!("goop_net_presence_out", "Presence records we published");
}
