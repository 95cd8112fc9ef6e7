//! The shape of a swarm: who is connected to whom, as a graph.

use std::collections::VecDeque;

use super::event::NodeId;

/// Undirected, of the nodes that are there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Graph {
    /// Neighbours of each node, ascending, without itself.
    edges: Vec<Vec<usize>>,
}

impl Graph {
    /// Of these lists of neighbours; `None`: the node is not there. An edge that one end alone knows of counts.
    pub fn new(neighbours: &[Option<Vec<NodeId>>]) -> Self {
        let mut place = vec![None; neighbours.len()];
        let present = neighbours.iter().enumerate().filter(|(_, list)| list.is_some());
        for (number, (id, _)) in present.enumerate() {
            place[id] = Some(number);
        }
        let mut edges = vec![Vec::new(); place.iter().flatten().count()];
        for (id, list) in neighbours.iter().enumerate() {
            let Some(a) = place[id] else { continue };
            for b in list.iter().flatten().filter_map(|&other| place[other]).filter(|&b| b != a) {
                edges[a].push(b);
                edges[b].push(a);
            }
        }
        for list in &mut edges {
            list.sort_unstable();
            list.dedup();
        }
        Self { edges }
    }

    /// Nodes.
    pub fn len(&self) -> usize {
        self.edges.len()
    }

    /// Whether nobody is there.
    pub fn is_empty(&self) -> bool {
        self.edges.is_empty()
    }

    /// Neighbours of each.
    pub fn degrees(&self) -> impl Iterator<Item = usize> {
        self.edges.iter().map(Vec::len)
    }

    /// Neighbours of a node in the middle.
    pub fn mean_degree(&self) -> f64 {
        self.degrees().sum::<usize>() as f64 / self.len().max(1) as f64
    }

    /// Parts that are not connected to each other, the largest first, by their sizes.
    pub fn components(&self) -> Vec<usize> {
        let mut seen = vec![false; self.len()];
        let mut sizes = Vec::new();
        for start in 0..self.len() {
            if !seen[start] {
                let reached = self.distances(start);
                for (node, _) in reached.iter().enumerate().filter(|(_, distance)| distance.is_some()) {
                    seen[node] = true;
                }
                sizes.push(reached.iter().flatten().count());
            }
        }
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        sizes
    }

    /// The longest of all shortest ways, and their mean, between nodes that are connected at all.
    pub fn paths(&self) -> (u32, f64) {
        let (mut longest, mut sum, mut count) = (0, 0_u64, 0_u64);
        for start in 0..self.len() {
            for distance in self.distances(start).into_iter().flatten().filter(|&distance| distance > 0) {
                longest = longest.max(distance);
                sum += u64::from(distance);
                count += 1;
            }
        }
        (longest, sum as f64 / count.max(1) as f64)
    }

    /// How many of the pairs of a node's neighbours are neighbours themselves: the mean over all nodes that have two at least.
    pub fn clustering(&self) -> f64 {
        let of_node = |list: &Vec<usize>| {
            let pairs = list.len() * list.len().saturating_sub(1);
            let closed: usize = list
                .iter()
                .map(|&a| list.iter().filter(|&&b| self.edges[a].binary_search(&b).is_ok()).count())
                .sum();
            (pairs > 0).then(|| closed as f64 / pairs as f64)
        };
        let all: Vec<f64> = self.edges.iter().filter_map(of_node).collect();
        all.iter().sum::<f64>() / all.len().max(1) as f64
    }

    /// The share of those that stay, when each stays with this chance, that are in one part afterwards.
    pub fn connected_after_loss(&self, stays: f64, rng: &mut fastrand::Rng) -> f64 {
        let neighbours: Vec<_> =
            self.edges.iter().map(|list| (rng.f64() < stays).then(|| list.clone())).collect();
        let left = Self::new(&neighbours);
        left.components().first().map_or(0.0, |&largest| largest as f64 / left.len() as f64)
    }

    fn distances(&self, start: usize) -> Vec<Option<u32>> {
        let mut distances = vec![None; self.len()];
        distances[start] = Some(0);
        let mut queue = VecDeque::from([(start, 0)]);
        while let Some((node, distance)) = queue.pop_front() {
            for &next in &self.edges[node] {
                if distances[next].is_none() {
                    distances[next] = Some(distance + 1);
                    queue.push_back((next, distance + 1));
                }
            }
        }
        distances
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_triangle_with_a_tail_and_somebody_alone() {
        // 0-1-2-0, 2-3; 4 is gone, 5 alone.
        let neighbours =
            [Some(vec![1, 4]), Some(vec![2]), Some(vec![0, 3, 2]), Some(vec![]), None, Some(vec![])];
        let graph = Graph::new(&neighbours);
        assert_eq!((graph.len(), graph.components()), (5, vec![4, 1]));
        assert_eq!(graph.degrees().collect::<Vec<_>>(), [2, 2, 3, 1, 0]);
        let (diameter, mean) = graph.paths();
        // Four pairs at 1, two at 2.
        assert_eq!((diameter, mean), (2, 8.0 / 6.0));
        // 1, 1 and a third; the others have no two neighbours.
        assert!((graph.clustering() - (1.0 + 1.0 + 1.0 / 3.0) / 3.0).abs() < 1e-9);
        let mut rng = fastrand::Rng::with_seed(1);
        assert_eq!(graph.connected_after_loss(1.0, &mut rng), 0.8);
        assert_eq!(graph.connected_after_loss(0.0, &mut rng), 0.0);
    }
}
