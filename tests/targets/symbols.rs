// SPDX-License-Identifier: GPL-2.0-or-later
// Rust whose places tests/e2e/symbols.py looks up: generics, closures, iterators, traits.
use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;

mod shapes {
    pub trait Shape {
        fn area(&self) -> f64;
        fn name(&self) -> String {
            String::from("shape")
        }
    }
    pub struct Square(pub f64);
    pub struct Named<T>(pub T, pub String);
    impl Shape for Square {
        fn area(&self) -> f64 {
            self.0 * self.0
        }
    }
    impl<T: Shape> Shape for Named<T> {
        fn area(&self) -> f64 {
            self.0.area()
        }
        fn name(&self) -> String {
            format!("{} ({})", self.1, self.0.name())
        }
    }
}

use shapes::{Named, Shape, Square};

#[inline(never)]
fn longest<T: Display, I: Iterator<Item = T>>(items: I) -> String {
    items.map(|x| x.to_string()).max_by_key(|s| s.len()).unwrap_or_default()
}

fn main() {
    let mut by_word: HashMap<String, Vec<usize>> = HashMap::new();
    for (i, a) in std::env::args().enumerate() {
        for w in a.split('/').filter(|w| !w.is_empty()) {
            by_word.entry(w.to_lowercase()).or_default().push(i);
        }
    }
    let sorted: BTreeMap<_, _> = by_word.into_iter().map(|(k, v)| (k, v.len())).collect();
    let all: Vec<Box<dyn Shape>> = sorted
        .iter()
        .map(|(k, n)| Box::new(Named(Square(*n as f64), k.clone())) as Box<dyn Shape>)
        .collect();
    let total: f64 = all.iter().map(|s| s.area()).sum();
    println!("{} {} {}", longest(sorted.values()), longest(all.iter().map(|s| s.name())), total);
}
