//! Topics with history: one home, one order, one position (`spec/cluster/history.md`).
