//! What is shown. Each scenario founds clusters of its own and prints what it measured.

mod crowd;
mod deaths;
mod epoch;
mod hostile;
mod links;
mod minority;
mod recover;
mod routes;
mod tokens;
mod two_clusters;

use crate::scene::Plan;

/// One claim, and what shows it.
pub(crate) struct Scenario {
    /// For `--only`.
    pub(crate) name: &'static str,
    /// In a sentence.
    pub(crate) claim: &'static str,
    /// Tries it.
    pub(crate) run: fn(&Plan) -> Result<(), String>,
}

/// All of them.
pub(crate) const SCENARIOS: [Scenario; 13] = [
    Scenario {
        name: "death",
        claim: "a killed node is declared down within 3 s, and `explain` says who found out",
        run: deaths::killed,
    },
    Scenario {
        name: "pause",
        claim: "a process that stands still for 1 s is never down, for nobody",
        run: deaths::paused,
    },
    Scenario {
        name: "goodbye",
        claim: "a node that is told to stop has left at once",
        run: deaths::stopped,
    },
    Scenario {
        name: "cut",
        claim: "a cut cable between two nodes keeps neither from being alive",
        run: links::cut,
    },
    Scenario {
        name: "no-gossip",
        claim: "a node whose every gossip datagram is lost stays alive by its streams",
        run: links::no_gossip,
    },
    Scenario {
        name: "crowd",
        claim: "30 workers join at once through different nodes; each follows a slice",
        run: crowd::run,
    },
    Scenario {
        name: "minority",
        claim: "without a quorum nobody is admitted or removed, and views answer",
        run: minority::run,
    },
    Scenario {
        name: "epoch",
        claim: "who was away when the epoch rose comes back anew; who was removed does not",
        run: epoch::run,
    },
    Scenario {
        name: "two-clusters",
        claim: "two clusters on one multicast group and the same ports never mix",
        run: two_clusters::run,
    },
    Scenario {
        name: "hostile",
        claim: "10^6 forged, replayed, oversized and truncated datagrams change nothing",
        run: hostile::run,
    },
    Scenario {
        name: "tokens",
        claim: "a wrong, expired, used, revoked or foreign token is refused and changes nothing",
        run: tokens::run,
    },
    Scenario {
        name: "routes",
        claim: "every route of HTTP and gRPC refuses callers without a certificate",
        run: routes::run,
    },
    Scenario {
        name: "recover",
        claim: "one survivor of three voters goes on with all it had, and three are well again",
        run: recover::run,
    },
];
