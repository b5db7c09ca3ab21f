//! The worker: what the oracle does in its namespaces.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;

use nix::errno::Errno;
use socket2::Socket;

use super::conditions::{self, How, Lever};
use super::judge::Judge;
use super::listing::Listing;
use super::load::{self, Edits, Names};
use super::question::{Flow, Format, Question};
use super::scratch::{self, Scratch};
use super::tools::Tools;
use super::trace::Trace;
use super::trial::{self, Probe, Seen};
use super::{Answer, Answers, OracleError, far, guard};
use crate::model::{Family, Transport};

/// Marks every packet before any rule sees it.
const TRACE: &str = "table inet tunnelcheck_oracle {
chain out { type filter hook output priority -2000; meta nftrace set 1; }
chain in { type filter hook prerouting priority -2000; meta nftrace set 1; }
}
";

/// Lets the kernel know connections.
const TRACK: &str = "table inet tunnelcheck_oracle {
chain track { type filter hook prerouting priority 0; ct state established; }
}
";

/// How many rules with conditions are tried. A round takes 20 to 60 ms.
const ROUNDS: usize = 60;

/// Flows at once after a part of the trace was lost.
const FEW: usize = 6;

/// Answers a question, in namespaces that end with this process.
pub(super) fn answer(mut question: Question) -> Result<Answers, OracleError> {
    if far::has_ipv6() {
        return try_all(question);
    }
    let asked = question.flows.clone();
    question.flows.retain(|flow| flow.family() == Family::Ipv4);
    let mut answers = try_all(question)?;
    let mut known = std::mem::take(&mut answers.flows).into_iter();
    let all = asked.iter().map(|flow| match flow.family() {
        Family::Ipv4 => known.next(),
        Family::Ipv6 => None,
    });
    let unclear = || Answer::Unclear("the kernel here has no IPv6".to_owned());
    answers.flows = all.map(|answer| answer.unwrap_or_else(unclear)).collect();
    Ok(answers)
}

fn try_all(mut question: Question) -> Result<Answers, OracleError> {
    guard::check(&question)?;
    let formats: Vec<Format> = question.parts.iter().map(|part| part.format).collect();
    let tools = Tools::find(&formats)?;
    let mut names = Names::default();
    let user = scratch::enter(names.who(&question.context.user))?;
    let scratch = Scratch::build(&question, &tools, user)?;
    let saved = question
        .parts
        .iter_mut()
        .filter(|part| part.format != Format::Nft);
    saved.for_each(|part| part.text = names.replace_owners(&part.text));
    let mut stage = Stage {
        levers: conditions::of_lines(&question.parts),
        trace: Trace::open().map_err(internal)?,
        question,
        scratch,
        tools,
    };
    let sessions = stage.sessions()?;
    let edits = stage.edits(None).0;
    names.load(&mut stage.question.parts, &edits, &stage.tools)?;
    let judge = Judge::new(stage.list()?, &stage.question.parts);
    stage.levers.extend(judge.levers());
    let mut answers = stage.decide(&judge, &sessions)?;
    Judge::add_sources(&mut answers, &stage.question.parts, &stage.tools)?;
    Ok(Answers {
        flows: answers,
        stand_ins: names.stand_ins(),
    })
}

fn internal(why: impl std::fmt::Display) -> OracleError {
    OracleError::Internal(why.to_string())
}

/// Connections that are there before the rules, by the index of the flow.
type Sessions = BTreeMap<usize, Socket>;

/// Everything that a round needs.
struct Stage {
    question: Question,
    scratch: Scratch,
    tools: Tools,
    trace: Trace,
    levers: Vec<Lever>,
}

impl Stage {
    /// The answers to all flows.
    fn decide(&self, judge: &Judge, sessions: &Sessions) -> Result<Vec<Answer>, OracleError> {
        let flows = &self.question.flows;
        let (lines, script) = self.edits(None);
        self.nft(&(script.clone() + TRACE))?;
        let edited = !lines.is_empty() || !script.is_empty();
        let listing = edited.then(|| self.list()).transpose()?;
        let all: Vec<usize> = (0..flows.len()).collect();
        let seen = self.try_flows(&all, sessions)?;
        let now = listing.as_ref().unwrap_or(&judge.listing);
        let mut answers: Vec<Answer> = seen.iter().map(|seen| judge.answer(seen, now)).collect();
        let mut rounds = 0;
        for (index, lever) in self.levers.iter().enumerate() {
            let place = (
                lever.family.clone(),
                lever.table.clone(),
                lever.chain.clone(),
            );
            let matters = |flow: &usize| {
                seen[*flow].chains().contains(&place)
                    && match answers[*flow] {
                        Answer::Passes => lever.may_close(),
                        Answer::Closed(_) => {
                            !(lever.by_interface && matches!(flows[*flow], Flow::Forwarded { .. }))
                        }
                        _ => false,
                    }
            };
            let concerned: Vec<usize> = all.iter().copied().filter(matters).collect();
            if concerned.is_empty() {
                continue;
            }
            rounds += 1;
            let after = self.round(index, &concerned, judge, rounds)?;
            for (flow, after) in concerned.into_iter().zip(after) {
                judge.compare(lever, &mut answers[flow], after);
            }
        }
        for (answer, flow) in answers.iter_mut().zip(flows) {
            if *answer == Answer::Passes
                && let Some(silence) = judge.silence(flow)
            {
                *answer = Answer::Silent(silence);
            }
        }
        Ok(answers)
    }

    /// What these flows meet where the condition of one rule holds.
    fn round(
        &self,
        lever: usize,
        flows: &[usize],
        judge: &Judge,
        rounds: usize,
    ) -> Result<Vec<Answer>, OracleError> {
        if rounds > ROUNDS {
            let why = format!("more than {ROUNDS} rules have conditions");
            return Ok(vec![Answer::Unclear(why); flows.len()]);
        }
        self.nft("flush ruleset\n")?;
        let sessions = self.sessions()?;
        let (lines, script) = self.edits(Some(lever));
        load::load(&self.question.parts, &lines, &self.tools)?;
        if self.nft(&(script + TRACE)).is_err() {
            let why = "a rule cannot be tried without its condition".to_owned();
            return Ok(vec![Answer::Unclear(why); flows.len()]);
        }
        let listing = self.list()?;
        let seen = self.try_flows(flows, &sessions)?;
        Ok(seen
            .iter()
            .map(|seen| judge.answer(seen, &listing))
            .collect())
    }

    /// What is another than in the files: conditions that count do not hold, but for the one chosen.
    fn edits(&self, chosen: Option<usize>) -> (Edits, String) {
        let (mut lines, mut script) = (Edits::new(), String::new());
        for (index, lever) in self.levers.iter().enumerate() {
            let holds = chosen == Some(index);
            if !holds && !lever.is_counting() {
                continue;
            }
            match &lever.how {
                How::Line(part, line, always, never) => {
                    let text = if holds { always } else { never };
                    lines.insert((*part, *line), text.clone());
                }
                How::Handle(handle, always) => {
                    let text = if holds && !always.is_empty() {
                        always
                    } else {
                        "counter"
                    };
                    let Lever {
                        family,
                        table,
                        chain,
                        ..
                    } = lever;
                    let place = format!("{family} {table} {chain} handle {handle}");
                    // nft 1.0.6 aborts where it replaces a rule by one with an interval in a map.
                    let _ = writeln!(script, "add rule {place} {text}\ndelete rule {place}");
                }
            }
        }
        (lines, script)
    }

    fn nft(&self, script: &str) -> Result<(), OracleError> {
        let said = self.tools.nft(&["-f", "-"], script)?;
        if said.success {
            return Ok(());
        }
        Err(internal(said.err.lines().next().unwrap_or("nft failed")))
    }

    fn list(&self) -> Result<Listing, OracleError> {
        let said = self.tools.nft(&["-a", "list", "ruleset"], "")?;
        Ok(Listing::read(&said.out))
    }

    /// Connections from before the rules: those that the kernel does not track come first.
    fn sessions(&self) -> Result<Sessions, OracleError> {
        let mut sessions = Sessions::new();
        for wanted in [false, true] {
            let flows = self.question.flows.iter().enumerate();
            let flows = flows.filter(
                |(_, flow)| matches!(flow, Flow::Session { tracked, .. } if *tracked == wanted),
            );
            for (number, (index, flow)) in flows.enumerate() {
                if wanted && number == 0 {
                    self.nft(TRACK)?;
                }
                let socket = self.scratch.socket(flow)?;
                let to = self.destination(flow);
                socket.connect(&to.into()).map_err(internal)?;
                trial::converse(&socket).map_err(internal)?;
                sessions.insert(index, socket);
            }
        }
        Ok(sessions)
    }

    fn destination(&self, flow: &Flow) -> SocketAddr {
        let context = &self.question.context;
        match *flow {
            Flow::Out { to, .. } | Flow::Forwarded { to, .. } => to,
            Flow::In { from, port } | Flow::Session { from, port, .. } => match Family::of(from) {
                Family::Ipv4 => SocketAddr::new(context.ipv4.into(), port),
                Family::Ipv6 => SocketAddr::new(context.ipv6.into(), port),
            },
        }
    }

    /// Tries flows at once, and few at a time where the trace does not keep up.
    fn try_flows(&self, flows: &[usize], sessions: &Sessions) -> Result<Vec<Seen>, OracleError> {
        let run = |flows: &[usize]| {
            // What is left of a round before.
            let _ = self.trace.events();
            let probes = flows.iter().map(|index| self.probe(*index, sessions));
            Ok(trial::run(
                probes.collect::<Result<_, OracleError>>()?,
                &self.trace,
            ))
        };
        match run(flows)? {
            Ok(seen) => Ok(seen),
            Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {
                let mut seen = Vec::new();
                for few in flows.chunks(FEW) {
                    seen.extend(run(few)?.map_err(internal)?);
                }
                Ok(seen)
            }
            Err(error) => Err(internal(error)),
        }
    }

    fn probe(&self, index: usize, sessions: &Sessions) -> Result<Probe, OracleError> {
        let flow = &self.question.flows[index];
        let session = sessions.get(&index);
        let socket = match session {
            Some(session) => session.try_clone().map_err(internal)?,
            None => self.scratch.socket(flow)?,
        };
        Ok(Probe {
            socket,
            is_connected: session.is_some(),
            transport: match flow {
                Flow::Out { transport, .. } | Flow::Forwarded { transport, .. } => *transport,
                Flow::In { .. } | Flow::Session { .. } => Transport::Tcp,
            },
            to: self.destination(flow),
        })
    }
}
