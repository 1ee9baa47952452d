use super::*;

fn order_of(seed: u64) -> (u64, Vec<u32>) {
    let simulation = Simulation::new(seed);
    let seen = Arc::new(Mutex::new(Vec::new()));
    for n in 0..20 {
        let (world, seen) = (simulation.clone(), Arc::clone(&seen));
        simulation.spawn(Box::pin(async move {
            world.sleep(Duration::from_millis(u64::from(n % 3))).await;
            seen.lock().unwrap().push(n);
        }));
    }
    let world = simulation.clone();
    simulation.block_on(async move { world.sleep(Duration::from_secs(1)).await });
    let seen = seen.lock().unwrap().clone();
    (simulation.digest(), seen)
}

#[test]
fn equal_seeds_yield_equal_orders() {
    assert_eq!(order_of(7), order_of(7));
}

#[test]
fn different_seeds_yield_different_orders() {
    assert_ne!(order_of(7).1, order_of(8).1);
}

#[test]
fn time_is_virtual() {
    let simulation = Simulation::new(1);
    let world = simulation.clone();
    simulation.block_on(async move { world.sleep(Duration::from_secs(3600 * 24 * 365)).await });
    assert_eq!(simulation.elapsed(), Duration::from_secs(3600 * 24 * 365));
}

#[test]
fn the_digest_contains_notes() {
    let (one, two) = (Simulation::new(1), Simulation::new(1));
    one.note("committed");
    assert_ne!(one.digest(), two.digest());
    two.note("committed");
    assert_eq!(one.digest(), two.digest());
}

/// Counts once a second until it is dropped.
fn ticking(runtime: &Arc<dyn Runtime>, count: &Arc<Mutex<u32>>) -> Task {
    let (runtime, count) = (Arc::clone(runtime), Arc::clone(count));
    Box::pin(async move {
        loop {
            runtime.sleep(Duration::from_secs(1)).await;
            *count.lock().unwrap() += 1;
        }
    })
}

#[test]
fn a_killed_group_drops_its_tasks_and_spawns_no_others() {
    let world = Simulation::new(1);
    let (lost, kept) = (world.group(), world.group());
    let counts: [Arc<Mutex<u32>>; 2] = Default::default();
    for (group, count) in [(&lost, &counts[0]), (&kept, &counts[1])] {
        let runtime: Arc<dyn Runtime> = group.clone();
        runtime.spawn(ticking(&runtime, count));
    }
    world.advance(Duration::from_secs(5));
    lost.kill();
    assert!(!lost.is_alive() && kept.is_alive());
    let runtime: Arc<dyn Runtime> = lost.clone();
    runtime.spawn(ticking(&runtime, &counts[0]));
    world.advance(Duration::from_secs(5));
    assert_eq!(counts.map(|count| *count.lock().unwrap()), [5, 10]);
}

#[test]
fn a_task_can_kill_its_own_group() {
    let world = Simulation::new(1);
    let group = world.group();
    let after = Arc::new(Mutex::new(0));
    let (own, count) = (Arc::clone(&group), Arc::clone(&after));
    group.spawn(Box::pin(async move {
        own.kill();
        own.sleep(Duration::from_secs(1)).await;
        *count.lock().unwrap() += 1;
    }));
    world.advance(Duration::from_secs(5));
    assert_eq!((*after.lock().unwrap(), Arc::strong_count(&after)), (0, 1));
}

#[test]
fn running_ready_tasks_does_not_advance_the_time() {
    let world = Simulation::new(1);
    let count = Arc::new(Mutex::new(0));
    let (runtime, inner) = (world.runtime(), Arc::clone(&count));
    world.spawn(Box::pin(async move {
        *inner.lock().unwrap() += 1;
        runtime.sleep(Duration::from_secs(1)).await;
        *inner.lock().unwrap() += 1;
    }));
    world.run_until_idle();
    assert_eq!(
        (*count.lock().unwrap(), world.elapsed()),
        (1, Duration::ZERO)
    );
    world.advance(Duration::from_secs(1));
    assert_eq!(*count.lock().unwrap(), 2);
}

#[test]
fn an_ended_simulation_drops_its_tasks() {
    let world = Simulation::new(1);
    let count = Arc::new(Mutex::new(0));
    world.spawn(ticking(&world.runtime(), &count));
    world.advance(Duration::from_secs(1));
    world.end();
    assert_eq!(Arc::strong_count(&count), 1);
}

#[test]
#[should_panic(expected = "nothing can run any more")]
fn a_future_without_a_waker_panics() {
    Simulation::new(1).run(std::future::pending::<()>());
}

/// Its tasks hold timers, which take the lock of the simulation when they are dropped.
#[test]
#[should_panic(expected = "the simulation does not become idle")]
fn a_simulation_that_never_becomes_idle_is_reported() {
    let simulation = Simulation::new(1);
    for _ in 0..2 {
        let runtime = simulation.clone();
        simulation.spawn(Box::pin(async move {
            loop {
                runtime.sleep(Duration::from_micros(1)).await;
            }
        }));
    }
    simulation.run(simulation.sleep(Duration::from_secs(1_000_000)));
}
