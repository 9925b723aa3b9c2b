//! All runs of all cases, several at once.

use std::collections::VecDeque;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use pam_idtoken_tests::faults::{Call, Fault, name};

use crate::cases::Case;
use crate::stand::{Run, with_stand};
use crate::tokens::now;

/// How many runs are at work at once: each waits for its supervisor or the other way round.
const WORKERS: usize = 4;
/// So many runs have one scratch host.
const CHUNK: usize = 100;
/// How often a run is made whose call does not come, since threads are not in step.
const TRIES: usize = 5;
/// How often a run is made again that may have failed since the machine stood still.
const STALLS: usize = 2;

/// A call counts if so many runs without a fault make it: whoever waits longer looks more often.
const COUNTED: usize = 3;

/// Unless all are asked for one run in so many is made, others each day.
const PARTS: u64 = 6;

/// Which runs are made: all, or one part of so many, the same also after midnight.
fn part() -> Option<u64> {
    static PART: OnceLock<Option<u64>> = OnceLock::new();
    *PART.get_or_init(|| {
        let is_full = std::env::var("FULL").is_ok_and(|full| !full.is_empty());
        (!is_full).then(|| now() / (24 * 60 * 60) % PARTS)
    })
}

/// The same as it is told.
pub(crate) fn part_name() -> String {
    part().map_or(String::new(), |part| format!(", {} of {PARTS}", part + 1))
}

/// One run that is to be made, and what came of it.
#[derive(Debug)]
pub(crate) struct Point {
    pub(crate) call: usize,
    pub(crate) fault: Fault,
    pub(crate) is_reached: bool,
    pub(crate) violations: Vec<String>,
    /// How often it was made while the machine stood still.
    pub(crate) stalls: usize,
}

/// What came of a case.
pub(crate) struct Result {
    pub(crate) name: String,
    /// The calls it makes.
    pub(crate) calls: Vec<Call>,
    pub(crate) points: Vec<Point>,
    /// What did not hold though nothing went wrong.
    pub(crate) without: Vec<String>,
    /// What all its runs took together.
    pub(crate) took: Duration,
}

/// Runs all of them.
pub(crate) fn run(cases: &[Case]) -> Vec<Result> {
    let results: Vec<Mutex<Result>> = in_parallel(cases.iter().collect(), count)
        .into_iter()
        .map(Mutex::new)
        .collect();
    let mut chunks = Vec::new();
    for (number, result) in results.iter().enumerate() {
        let points = std::mem::take(&mut result.lock().unwrap().points);
        let mut points = points.into_iter().peekable();
        while points.peek().is_some() {
            let chunk: Vec<Point> = points.by_ref().take(CHUNK).collect();
            chunks.push((number, chunk));
        }
    }
    in_parallel(chunks, |(number, points)| {
        let start = Instant::now();
        let calls = results[number].lock().unwrap().calls.clone();
        let points = make(&cases[number], &calls, points);
        let mut result = results[number].lock().unwrap();
        result.points.extend(points);
        result.took += start.elapsed();
    });
    let results = results.into_iter();
    results.map(|result| result.into_inner().unwrap()).collect()
}

/// Does a work on each, in this order, a few at once.
fn in_parallel<T: Send, R: Send>(all: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let queue = Mutex::new(all.into_iter().enumerate().collect::<VecDeque<_>>());
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap().pop_front();
                    let Some((number, one)) = next else { break };
                    let result = work(one);
                    done.lock().unwrap().push((number, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Lists the calls of a case, and what is to go wrong at them.
fn count(case: &Case) -> Result {
    let counted = || {
        with_stand(case, |stand| {
            // What only the first run does is not there in the others.
            stand.run(None);
            let run = stand.run(None);
            (1..COUNTED).fold(run, |run, _| run.in_common_with(stand.run(None)))
        })
    };
    let mut run = counted();
    for _ in 0..STALLS {
        if run.may_be_a_stall() {
            run = counted();
        }
    }
    let Run {
        seen,
        mut violations,
        ..
    } = run;
    let unknown = seen.unknown.iter();
    violations.extend(unknown.map(|call| format!("which errors can system call {call} give?")));
    let asked = |variable| std::env::var(variable).ok().filter(|only| !only.is_empty());
    let (only_call, only_fault) = (asked("CALL"), asked("FAULT"));
    let is_wanted = |made: &Call| {
        let call = only_call.as_ref();
        call.is_none_or(|only| *only == name(made.position.number))
    };
    let may_go_wrong = |fault: &&Fault| {
        let part = only_fault.as_ref();
        part.is_none_or(|part| fault.to_string().contains(part))
    };
    let made = seen.calls.iter().enumerate();
    let points = made
        .filter(|(_, made)| is_wanted(made))
        .flat_map(|(call, made)| {
            let faults = made.faults.iter().filter(may_go_wrong);
            faults.map(move |fault| Point {
                call,
                fault: *fault,
                is_reached: false,
                violations: Vec::new(),
                stalls: 0,
            })
        });
    let part = part();
    let points = points.zip((0..PARTS).cycle());
    let points = points.filter(|(_, number)| part.is_none_or(|part| part == *number));
    Result {
        name: case.name(),
        points: points.map(|(point, _)| point).collect(),
        calls: seen.calls,
        without: violations,
        took: Duration::ZERO,
    }
}

/// Makes the runs; a scratch host on which something did not hold is not used again, nor one on
/// which calls did not come for these calls.
fn make(case: &Case, calls: &[Call], points: Vec<Point>) -> Vec<Point> {
    let mut todo: VecDeque<Point> = points.into();
    let (mut done, mut missed) = (Vec::new(), Vec::new());
    let mut is_again = false;
    while !todo.is_empty() {
        with_stand(case, |stand| {
            while let Some(mut point) = todo.pop_front() {
                let mut is_stall = false;
                for _ in 0..TRIES {
                    let run = stand.run(Some((calls[point.call].position, point.fault)));
                    is_stall = run.may_be_a_stall() && point.stalls < STALLS;
                    point.is_reached = run.seen.has_fired;
                    point.violations = run.violations;
                    if point.is_reached || !point.violations.is_empty() {
                        break;
                    }
                }
                let is_clean = point.violations.is_empty();
                if !is_clean {
                    let call = &calls[point.call];
                    eprintln!(
                        "{}: {call} {}: {:?}",
                        case.name(),
                        point.fault,
                        point.violations
                    );
                }
                if is_clean && !point.is_reached && !is_again {
                    missed.push(point);
                    continue;
                }
                if is_stall {
                    point.stalls += 1;
                    todo.push_front(point);
                    break;
                }
                done.push(point);
                if !is_clean {
                    break;
                }
            }
        });
        if todo.is_empty() && !is_again {
            // Another host may take another turn.
            is_again = true;
            todo.extend(missed.drain(..));
        }
    }
    done
}
