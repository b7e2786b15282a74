//! Power cuts at every point: after recovery no accepted code is accepted again, nothing that was
//! answered is missing from the audit, and the store opens.

use std::sync::Arc;
use std::time::Duration;

use oncegate::model::audit::Event;
use oncegate::model::reason::Decision;
use oncegate::model::sealing::SealAlgorithm;
use oncegate::store::AuditQuery;

use crate::support::Random;
use crate::support::disk::Disk;
use crate::support::store::{NOW, attempt, enrol, open, open_sealed};

/// Power cuts per run; `ONCEGATE_POWER_CUTS` asks for more.
const CUTS: u64 = 300;
/// Crashes on the same disk, one after the other, so that recovery is interrupted too.
const LIVES: u64 = 4;

#[tokio::test]
async fn no_accepted_code_is_accepted_again_after_a_power_cut() {
    let cuts = std::env::var("ONCEGATE_POWER_CUTS")
        .ok()
        .and_then(|n| n.parse().ok());
    for seed in 0..cuts.unwrap_or(CUTS) / LIVES {
        let mut random = Random(seed + 1);
        let disk = Disk::default();
        // Acknowledged steps per token, and the number of acknowledged decisions.
        let mut accepted: Vec<Vec<u64>> = vec![Vec::new(); TOKENS];
        let mut enrolled = [false; TOKENS];
        let mut decisions = 0;
        let mut next = 0;
        for life in 0..LIVES {
            disk.fail_after(random.below(LENGTH[usize::try_from(life % 2).unwrap()]));
            // The replays count against the address that all of them come from; a day later it is
            // evaluated again.
            let at = NOW.plus(DAY * u32::try_from(life).unwrap());
            // Another algorithm than before seals the data key again, which the cut may interrupt.
            let algorithm = random.pick(&SealAlgorithm::ALL);
            if let Ok(store) = open_sealed(Arc::new(disk.clone()), algorithm) {
                loop {
                    let token = usize::try_from(random.below(TOKENS as u64)).unwrap();
                    let (name, serial) = (format!("user{token}"), format!("HOTP-{token}"));
                    if !enrolled[token] {
                        if enrol(&store, &name, &serial).await.is_err() {
                            break;
                        }
                        enrolled[token] = true;
                    }
                    next += 1;
                    match attempt(&store, &name, &serial, &[next], at).await {
                        Ok(settled) => {
                            decisions += 1;
                            assert_eq!(settled.decision, Decision::Accept, "{settled:?}");
                            accepted[token].push(next);
                        }
                        Err(_) => break,
                    }
                }
            }
            disk.power_cut(&mut random);
            // In doubt: the enrolment that failed may be there, whole or in part.
            let store = open(Arc::new(disk.clone()))
                .unwrap_or_else(|error| panic!("seed {seed} life {life}: {error}"));
            assert_eq!(store.health().fault, None, "seed {seed} life {life}");
            let damage = store.health().damage;
            assert!(damage.is_empty(), "seed {seed} life {life}: {damage:?}");
            let report = store.verify_audit(Box::new(|_| ())).await.unwrap();
            assert_eq!(report.fault, None, "seed {seed} life {life}");
            let all = AuditQuery {
                limit: usize::MAX,
                ..AuditQuery::default()
            };
            let records = store.audit(all).await.unwrap();
            let kept = records
                .iter()
                .filter(|r| matches!(r.event, Event::Decision(_)))
                .count();
            assert!(
                kept >= decisions,
                "seed {seed} life {life}: {kept} < {decisions}"
            );
            decisions = kept;
            for (token, steps) in accepted.iter().enumerate() {
                let (name, serial) = (format!("user{token}"), format!("HOTP-{token}"));
                let token = store.token(&serial.parse().unwrap()).unwrap();
                enrolled[serial[5..].parse::<usize>().unwrap()] = token.is_some();
                for step in steps {
                    let replay = attempt(&store, &name, &serial, &[*step], at).await.unwrap();
                    assert_eq!(
                        replay.decision,
                        Decision::Reject,
                        "seed {seed} life {life}: step {step} of {serial} accepted twice"
                    );
                    decisions += 1;
                    if matches!(
                        replay.reason,
                        oncegate::model::reason::Reason::Throttled
                            | oncegate::model::reason::Reason::Locked
                    ) {
                        break;
                    }
                }
                let change = oncegate::store::Change::Unlock(crate::support::store::key(&name));
                if store
                    .view(&crate::support::store::key(&name))
                    .unwrap()
                    .is_some()
                {
                    store
                        .change(change, crate::support::store::by())
                        .await
                        .unwrap();
                }
            }
        }
    }
}

const TOKENS: usize = 5;
const DAY: Duration = Duration::from_hours(24);
/// Operations until the cut: short lives cut opening and recovery, long ones work and checkpoints.
const LENGTH: [u64; 2] = [4000, 600];
