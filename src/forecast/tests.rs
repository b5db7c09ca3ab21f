//! The forecast against the measurements: each row of `docs/cloudflared.md` as data.

use super::*;
use crate::model::{Family, ProtocolChoice};

/// A start that was measured: the first and the fourth connection as (least, median, most) in seconds.
struct Row {
    name: &'static str,
    /// How many starts were measured.
    n: u32,
    network: Conditions,
    outcome: Prospect,
    protocol: Option<Service>,
    first: Option<(f64, f64, f64)>,
    fourth: Option<(f64, f64, f64)>,
    exit: Option<f64>,
    /// What a unit with a limit of 15 s gets; absent where that was not measured.
    unit: Option<Killed>,
}

const QUICK: Lookup = Lookup {
    seconds: 0.001,
    found: true,
};

const DENIED: Lookup = Lookup {
    seconds: 0.001,
    found: false,
};

fn silence(seconds: f64) -> Lookup {
    Lookup {
        seconds,
        found: false,
    }
}

fn lookups() -> Lookups {
    Lookups {
        txt_s: 0.001,
        srv: Some(QUICK),
        dot: None,
        targets: vec![QUICK; 2],
        loss: (0.0, 0.0),
        retry_s: 5.0,
    }
}

fn addresses(family: Family, quic: Dial, http2: Dial) -> Addresses {
    Addresses {
        family,
        quic: vec![quic; 10],
        http2: vec![http2; 10],
    }
}

/// Two regions with both families, IPv6 first, in which every address of a family is alike.
fn edge(ipv6: (Dial, Dial), ipv4: (Dial, Dial)) -> Conditions {
    let region = Region {
        families: vec![
            addresses(Family::Ipv6, ipv6.0, ipv6.1),
            addresses(Family::Ipv4, ipv4.0, ipv4.1),
        ],
    };
    Conditions {
        protocol: ProtocolChoice::Auto,
        lookups: lookups(),
        regions: vec![region.clone(), region],
        round_trip_s: 0.001,
        loss: 0.0,
    }
}

fn both(quic: Dial, http2: Dial) -> Conditions {
    edge((quic, http2), (quic, http2))
}

fn with(protocol: ProtocolChoice, network: Conditions) -> Conditions {
    Conditions {
        protocol,
        ..network
    }
}

fn lossy(loss: f64) -> Conditions {
    let question = 1.0 - (1.0 - loss) * (1.0 - loss);
    Conditions {
        round_trip_s: 0.02,
        loss,
        lookups: Lookups {
            loss: (question, question),
            ..lookups()
        },
        ..both(Dial::Passes, Dial::Passes)
    }
}

fn asking(lookups: Lookups) -> Conditions {
    Conditions {
        lookups,
        ..both(Dial::Passes, Dial::Passes)
    }
}

fn far() -> Conditions {
    let slow = Lookup {
        seconds: 0.1,
        found: true,
    };
    Conditions {
        round_trip_s: 0.1,
        ..asking(Lookups {
            txt_s: 0.1,
            srv: Some(slow),
            targets: vec![slow; 2],
            ..lookups()
        })
    }
}

/// All rows of the tables on starts and on the unit. Rows with the same dials are one row here, because
/// chance decides alike in them: three starts alone show too little of a range.
#[expect(clippy::too_many_lines, reason = "a table")]
fn rows() -> Vec<Row> {
    use Dial::{Fails, Passes};
    let dropped_v6 = || edge((Fails(5.0), Fails(15.0)), (Passes, Passes));
    let row = |name, n, network| Row {
        name,
        n,
        network,
        outcome: Prospect::Connects,
        protocol: Some(Service::Quic),
        first: None,
        fourth: None,
        exit: None,
        unit: None,
    };
    let exits = |name, network, at| Row {
        outcome: Prospect::Exits,
        protocol: None,
        exit: Some(at),
        ..row(name, 2, network)
    };
    let never = |name, network| Row {
        outcome: Prospect::Never,
        protocol: None,
        ..row(name, 1, network)
    };
    let http2 = Some(Service::Http2);
    vec![
        Row {
            first: Some((0.07, 0.1, 0.4)),
            fourth: Some((2.1, 2.2, 2.4)),
            unit: Some(Killed::Never),
            ..row("healthy, quic", 4, both(Passes, Passes))
        },
        Row {
            protocol: http2,
            first: Some((0.08, 0.08, 0.08)),
            fourth: Some((2.1, 2.1, 2.1)),
            ..row(
                "healthy, http2",
                3,
                with(ProtocolChoice::Http2, both(Passes, Passes)),
            )
        },
        Row {
            first: Some((1.1, 1.1, 1.1)),
            fourth: Some((3.3, 3.3, 3.3)),
            ..row("healthy, RTT 100 ms, quic", 3, far())
        },
        Row {
            protocol: http2,
            first: Some((1.3, 1.3, 1.3)),
            fourth: Some((3.7, 3.7, 3.7)),
            ..row(
                "healthy, RTT 100 ms, http2",
                3,
                with(ProtocolChoice::Http2, far()),
            )
        },
        Row {
            protocol: http2,
            first: Some((97.0, 152.0, 181.0)),
            unit: Some(Killed::Always),
            ..row(
                "UDP dropped, UDP rejected, or its name dropped",
                12,
                both(Fails(5.0), Passes),
            )
        },
        Row {
            protocol: http2,
            first: Some((95.0, 107.0, 151.0)),
            ..row(
                "QUIC refused at once by an alert, or by this host's OUTPUT",
                5,
                both(Fails(0.0), Passes),
            )
        },
        never(
            "UDP dropped, --protocol quic",
            with(ProtocolChoice::Quic, both(Fails(5.0), Passes)),
        ),
        never("UDP and TCP dropped", both(Fails(5.0), Fails(15.0))),
        Row {
            first: Some((0.15, 0.15, 0.15)),
            fourth: Some((2.2, 2.2, 2.2)),
            ..row("TCP dropped", 3, both(Passes, Fails(15.0)))
        },
        Row {
            first: Some((5.1, 12.1, 15.0)),
            fourth: Some((12.8, 16.5, 31.5)),
            unit: Some(Killed::Sometimes),
            ..row("IPv6 dropped, quic", 47, dropped_v6())
        },
        Row {
            protocol: http2,
            first: Some((15.2, 24.9, 34.0)),
            fourth: Some((34.6, 39.1, 46.7)),
            unit: Some(Killed::Always),
            ..row(
                "IPv6 dropped, http2",
                6,
                with(ProtocolChoice::Http2, dropped_v6()),
            )
        },
        Row {
            first: Some((40.2, 40.2, 40.3)),
            unit: Some(Killed::Always),
            ..row(
                "first resolver dead",
                3,
                asking(Lookups {
                    txt_s: 5.0,
                    srv: Some(Lookup {
                        seconds: 5.0,
                        found: true,
                    }),
                    targets: vec![
                        Lookup {
                            seconds: 5.0,
                            found: true
                        };
                        2
                    ],
                    ..lookups()
                }),
            )
        },
        Row {
            unit: Some(Killed::Always),
            ..exits(
                "DNS silent",
                asking(Lookups {
                    txt_s: 10.0,
                    srv: Some(silence(10.0)),
                    dot: Some(QUICK),
                    targets: vec![silence(10.0)],
                    ..lookups()
                }),
                60.3,
            )
        },
        exits(
            "argotunnel.com NXDOMAIN",
            asking(Lookups {
                srv: Some(DENIED),
                dot: Some(QUICK),
                targets: vec![DENIED],
                ..lookups()
            }),
            0.6,
        ),
        Row {
            first: Some((0.2, 0.2, 0.2)),
            fourth: Some((2.2, 2.2, 2.2)),
            unit: Some(Killed::Never),
            ..row(
                "SRV stripped, DoT open",
                3,
                asking(Lookups {
                    srv: Some(DENIED),
                    dot: Some(QUICK),
                    ..lookups()
                }),
            )
        },
        exits(
            "SRV stripped, DoT closed",
            asking(Lookups {
                srv: Some(DENIED),
                dot: Some(silence(10.0)),
                ..lookups()
            }),
            20.1,
        ),
        Row {
            unit: Some(Killed::Sometimes),
            ..row("10 % loss", 5, lossy(0.1))
        },
        Row {
            first: Some((25.6, 25.7, 25.8)),
            ..row("20 % loss", 2, lossy(0.2))
        },
    ]
}

#[test]
fn every_measured_start_is_forecast() {
    let mut wrong = Vec::new();
    for row in rows() {
        let starts = simulate(&row.network).unwrap();
        let forecast = starts.forecast();
        let mut differs = |what: &str| {
            let Forecast {
                first_connection_s,
                fourth_connection_s,
                ..
            } = &forecast;
            wrong.push(format!(
                "{}: {what} ({first_connection_s:?}, {fourth_connection_s:?})",
                row.name
            ));
        };
        if forecast.outcome != row.outcome {
            differs(&format!("outcome {}", forecast.outcome));
        }
        if forecast.protocol != row.protocol {
            differs(&format!("protocol {:?}", forecast.protocol));
        }
        let times = [
            ("first", forecast.first_connection_s, row.first),
            ("fourth", forecast.fourth_connection_s, row.fourth),
        ];
        for (what, said, measured) in times {
            let Some(measured) = measured.filter(|_| row.n >= 3) else {
                continue;
            };
            if let Some(why) = said.map_or(Some("absent"), |said| misses(said, measured)) {
                differs(&format!("{what}: {why}"));
            }
        }
        if let (Some(said), Some(measured)) = (forecast.exit_after_s, row.exit)
            && !is_near(said, measured)
        {
            differs(&format!("exit after {said}"));
        }
        if row.unit.is_some_and(|unit| unit != starts.killed(15.0)) {
            differs(&format!("unit {:?}", starts.killed(15.0)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with a forecast of a time: it must contain what was measured, be at most twice as wide
/// plus 2 s, and have its median near.
fn misses(said: Span, (least, median, most): (f64, f64, f64)) -> Option<&'static str> {
    if said.min > least || said.max < most {
        Some("does not contain the measured range")
    } else if said.max - said.min > 2.0 * (most - least) + 2.0 {
        Some("is too wide")
    } else if !is_near(said.median, median) {
        Some("has another median")
    } else {
        None
    }
}

fn is_near(said: f64, measured: f64) -> bool {
    (said - measured).abs() <= (measured / 3.0).max(1.0)
}

#[test]
fn the_same_network_has_the_same_forecast() {
    let network = lossy(0.1);
    let twice = [(); 2].map(|()| simulate(&network).unwrap().forecast());
    assert_eq!(twice[0], twice[1]);
}

#[test]
fn the_time_line_is_in_order() {
    for row in rows() {
        let steps = simulate(&row.network).unwrap().forecast().steps;
        let medians: Vec<_> = steps.iter().map(|step| step.at_s.median).collect();
        assert!(medians.is_sorted(), "{}: {steps:?}", row.name);
        assert!(!steps.is_empty(), "{}", row.name);
    }
}

#[test]
fn what_is_not_known_is_not_forecast() {
    assert!(simulate(&both(Dial::Unknown, Dial::Passes)).is_none());
    // HTTP/2 is never dialled here.
    assert!(simulate(&both(Dial::Passes, Dial::Unknown)).is_some());
}

#[test]
fn a_unit_without_a_limit_kills_nothing() {
    let starts = simulate(&both(Dial::Fails(5.0), Dial::Passes)).unwrap();
    let unit = |waits_for_ready, start_timeout_ms| Systemd {
        unit: Some(ServiceUnit {
            path: "/etc/systemd/system/cloudflared.service".to_owned(),
            waits_for_ready,
            start_timeout_ms,
            protocol: None,
            edge_ip_version: None,
            options_known: true,
        }),
    };
    let killed = |systemd: &Systemd| service_start(systemd, &starts).killed;
    assert_eq!(killed(&unit(true, Some(15_000))), Killed::Always);
    assert_eq!(killed(&unit(true, Some(120_000))), Killed::Sometimes);
    assert_eq!(killed(&unit(true, Some(600_000))), Killed::Never);
    assert_eq!(killed(&unit(true, None)), Killed::Never);
    assert_eq!(killed(&unit(false, Some(15_000))), Killed::Never);
    assert_eq!(killed(&Systemd { unit: None }), Killed::Always);
}
