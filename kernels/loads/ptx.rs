//! What a kernel may read, and when, by its PTX: rule 3 of `kernels/README.md`.
//!
//! A kernel starts while the one before it still runs. So before its `griddepcontrol.wait` it reads
//! weights, and what a copy has brought before the step's first kernel, and nothing else. And what
//! an earlier kernel writes is never read by `ld.global.nc`, not even behind the wait: such reads
//! are for memory that nobody writes while the kernel lives, and the compiler may move them across
//! the wait. It makes them of `const T* __restrict__`.

use std::collections::{BTreeSet, HashMap};

/// By the start of a kernel's name: which of its parameters are weights (the rotary table among
/// them). The first that fits counts; other kernels have none.
const WEIGHTS: &[(&str, &[usize])] = &[
    ("gb_embed", &[1]),
    ("gb_heads", &[3, 4, 5]),
    ("gb_rms_norm", &[2]),
    ("gb_stream_norm_", &[1, 3]),
    ("gb_stream_", &[1]),
    ("gb_tile_", &[1]),
];

/// In the same way: which are the step's description, that no kernel writes. (`gb_feed` writes its
/// tokens, so those are none.)
const DESCRIPTION: &[(&str, &[usize])] = &[
    ("gb_heads", &[6, 7, 8]),
    ("gb_attend_decode", &[4, 5, 6, 7]),
    ("gb_attend_combine", &[3, 4]),
    ("gb_attend_prefill_split", &[4, 5, 6]),
];

/// The parameters of kernel `name` in such a list.
fn parameters_of(list: &[(&str, &'static [usize])], name: &str) -> &'static [usize] {
    list.iter().find(|(start, _)| name.starts_with(start)).map_or(&[], |(_, of)| of)
}

/// Checks all kernels of a file of PTX: their names, and what is wrong with them.
pub fn check(ptx: &str) -> (Vec<String>, Vec<String>) {
    let (mut names, mut complaints) = (Vec::new(), Vec::new());
    for text in ptx.split(".entry ").skip(1) {
        let name = text.split('(').next().unwrap_or_default().trim().to_owned();
        let wrong = Kernel::read(&name, text).complaints();
        complaints.extend(wrong.into_iter().map(|wrong| format!("{name}: {wrong}")));
        names.push(name);
    }
    (names, complaints)
}

/// An instruction: `@%p1 ld.global.v2.u32 {%r1, %r2}, [%rd3+8];`
struct Instruction<'a> {
    conditional: bool,
    name: &'a str,
    /// Registers, addresses and whatever else, from the left; the text of a list is one.
    operands: Vec<&'a str>,
}

impl<'a> Instruction<'a> {
    fn read(text: &'a str) -> Self {
        let text = text.trim();
        let (conditional, text) = match text.strip_prefix('@') {
            Some(rest) => (true, rest.split_once(char::is_whitespace).unwrap_or_default().1),
            None => (false, text),
        };
        let text = text.trim();
        let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        Self { conditional, name, operands: split(rest) }
    }

    /// The address, if it touches global memory (or memory of whatever kind).
    fn address(&self) -> Option<&'a str> {
        let elsewhere = [".param", ".shared", ".local", ".const"];
        let is_access = ["ld.", "ldu.", "st.", "atom.", "red.", "cp.async.c", "cp.async.b"]
            .iter()
            .any(|start| self.name.starts_with(start));
        if self.name.starts_with("cp.async.") {
            // The first address is that in shared memory.
            return self.operands.get(1).filter(|operand| operand.starts_with('[')).copied();
        }
        let global = is_access && !elsewhere.iter().any(|space| self.name.contains(space));
        self.operands.iter().find(|operand| global && operand.starts_with('[')).copied()
    }

    fn writes(&self) -> bool {
        ["st.", "atom.", "red."].iter().any(|start| self.name.starts_with(start))
    }
}

/// Operands, at the commas outside of braces and brackets.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0;
    let between = |c: char| {
        depth += i32::from("{[".contains(c)) - i32::from("]}".contains(c));
        c == ',' && depth == 0
    };
    text.split(between).map(str::trim).filter(|operand| !operand.is_empty()).collect()
}

/// The registers that a text names.
fn registers(text: &str) -> impl Iterator<Item = &str> {
    let is_other = |c: char| !c.is_ascii_alphanumeric() && !"%_.$".contains(c);
    text.split(is_other).filter(|word| word.starts_with('%'))
}

struct Kernel<'a> {
    weights: &'static [usize],
    description: &'static [usize],
    code: Vec<Instruction<'a>>,
    labels: HashMap<&'a str, usize>,
    /// What each register is computed from; of several values, all of it.
    sources: HashMap<&'a str, Vec<&'a str>>,
}

impl<'a> Kernel<'a> {
    fn read(name: &str, text: &'a str) -> Self {
        let mut kernel = Self {
            weights: parameters_of(WEIGHTS, name),
            description: parameters_of(DESCRIPTION, name),
            code: Vec::new(),
            labels: HashMap::new(),
            sources: HashMap::new(),
        };
        let body = text.split_once('{').unwrap_or_default().1;
        for line in body.lines().map(|line| line.split("//").next().unwrap_or_default().trim()) {
            if let Some(label) = line.strip_suffix(':') {
                kernel.labels.insert(label, kernel.code.len());
            } else if let Some(text) = line.strip_suffix(';').filter(|t| !t.starts_with('.')) {
                kernel.push(Instruction::read(text));
            }
        }
        kernel
    }

    fn push(&mut self, instruction: Instruction<'a>) {
        let is_load = instruction.address().is_some();
        if let Some((to, from)) = instruction.operands.split_first() {
            for register in registers(to) {
                // What is read from memory is a number, not an address.
                let all = from.iter().filter(|_| !is_load).copied();
                self.sources.entry(register).or_default().extend(all);
            }
        }
        self.code.push(instruction);
    }

    /// The parameters of 64 bits, which are pointers, that an address comes from.
    fn parameters(&self, address: &'a str) -> BTreeSet<usize> {
        let (mut found, mut seen) = (BTreeSet::new(), BTreeSet::new());
        let mut open = vec![address];
        while let Some(text) = open.pop() {
            if let Some((_, number)) = text.split_once("_param_") {
                let digits = number.trim_end_matches(']').split('+').next().unwrap_or_default();
                found.extend(digits.parse::<usize>());
            }
            // Only registers of 64 bits hold pointers.
            for register in registers(text).filter(|name| name.starts_with("%rd")) {
                if seen.insert(register) {
                    open.extend(self.sources.get(register).into_iter().flatten());
                }
            }
        }
        found
    }

    fn is_of(&self, address: &'a str, lists: &[&[usize]]) -> bool {
        let parameters = self.parameters(address);
        let known = |at: &usize| lists.iter().any(|list| list.contains(at));
        !parameters.is_empty() && parameters.iter().all(known)
    }

    fn are_weights(&self, address: &'a str) -> bool {
        self.is_of(address, &[self.weights])
    }

    fn complaints(&self) -> Vec<String> {
        let mut complaints = BTreeSet::new();
        for instruction in self.code.iter().filter(|i| i.name.contains(".nc")) {
            let address = instruction.address().unwrap_or_default();
            if !self.are_weights(address) {
                let from = self.parameters(address);
                complaints.insert(format!("{} of parameters {from:?}", instruction.name));
            }
        }
        let (mut open, mut seen) = (vec![0], BTreeSet::new());
        while let Some(at) = open.pop() {
            if seen.insert(at) {
                self.step(at, &mut open, &mut complaints);
            }
        }
        complaints.into_iter().collect()
    }

    /// What stands at `at`, which may run before the wait, and where it goes on.
    fn step(&self, at: usize, open: &mut Vec<usize>, complaints: &mut BTreeSet<String>) {
        let Some(instruction) = self.code.get(at) else {
            complaints.insert("ends without a wait".to_owned());
            return;
        };
        let name = instruction.name;
        match name {
            "griddepcontrol.wait" => return,
            "ret"
            | "exit"
            | "brx.idx"
            | "call"
            | "call.uni"
            | "griddepcontrol.launch_dependents" => {
                complaints.insert(format!("{name} before the wait"));
            }
            _ => {}
        }
        if let Some(address) = instruction.address()
            && (instruction.writes() || !self.is_of(address, &[self.weights, self.description]))
        {
            complaints.insert(format!("{name} {address} before the wait"));
        }
        let jumps = name == "bra" || name == "bra.uni";
        if jumps {
            let label = instruction.operands.first().and_then(|label| self.labels.get(label));
            open.extend(label);
        }
        if instruction.conditional || !(jumps || name == "ret" || name == "exit") {
            open.push(at + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    /// A kernel whose pointers are `%rd1` and so on, by parameter.
    fn complaints(name: &str, body: &str) -> Vec<String> {
        let load = |i: usize| format!("ld.param.u64 %rd{i}, [{name}_param_{i}];\n");
        let parameters: String = (0..4).map(load).collect();
        let (names, complaints) = check(&format!(
            ".visible .entry {name}(\n.param .u64 {name}_param_0\n)\n.maxntid 32, 1, 1\n{{\n\
             .reg .b64 %rd<9>;\n{parameters}{body}\n}}\n"
        ));
        assert_eq!(names, [name]);
        complaints
    }

    const GOOD: &str = "cvta.to.global.u64 %rd5, %rd1;
        add.s64 %rd6, %rd5, %rd7;
        @%p1 bra $L1;
        // begin inline asm
        ld.global.nc.L1::no_allocate.v4.u32 {%r1,%r2,%r3,%r4}, [%rd6+16];
        // end inline asm
        $L1:
        cp.async.cg.shared.global [%r9], [%rd6], 16, %r8;
        griddepcontrol.wait;
        griddepcontrol.launch_dependents;
        ld.global.u32 %r5, [%rd2];
        @%p2 bra $L2;
        st.global.u32 [%rd0], %r5;
        $L2:
        ret;";

    #[test]
    fn weights_may_be_read_early_and_all_else_behind_the_wait() {
        assert!(complaints("gb_stream_x", GOOD).is_empty());
        assert!(!complaints("gb_else", GOOD).is_empty(), "it has no weights");
    }

    #[test]
    fn what_breaks_the_rule_is_found() {
        let changes = [
            // Not by its own register, but by one that the address comes from.
            ("cvta.to.global.u64 %rd5, %rd1", "cvta.to.global.u64 %rd5, %rd2"),
            ("add.s64 %rd6, %rd5, %rd7", "selp.b64 %rd6, %rd5, %rd2, %p3"),
            ("ld.global.u32 %r5", "ld.global.nc.u32 %r5"),
            ("[%r9], [%rd6]", "[%r9], [%rd3]"),
            ("griddepcontrol.wait;", ""),
            ("griddepcontrol.wait;", "@%p4 bra $L2;\ngriddepcontrol.wait;"),
            ("griddepcontrol.wait;", "@%p4 ret;\ngriddepcontrol.wait;"),
            ("griddepcontrol.wait;", "ld.global.u32 %r5, [%rd0];\ngriddepcontrol.wait;"),
            ("griddepcontrol.wait;", "st.global.u32 [%rd1], %r5;\ngriddepcontrol.wait;"),
            ("griddepcontrol.wait;", "griddepcontrol.launch_dependents;\ngriddepcontrol.wait;"),
        ];
        for (from, to) in changes {
            let changed = GOOD.replacen(from, to, 1);
            assert_ne!(changed, GOOD);
            assert!(!complaints("gb_stream_x", &changed).is_empty(), "{to}");
        }
    }

    #[test]
    fn what_the_step_is_may_be_read_early_but_is_no_weight() {
        let early = "ld.global.u32 %r5, [%rd3];\ngriddepcontrol.wait;\nret;";
        assert!(complaints("gb_attend_combine", early).is_empty());
        assert!(!complaints("gb_attend_combine", &early.replace("%rd3", "%rd2")).is_empty());
        assert!(!complaints("gb_attend_combine", &early.replace("ld.g", "ld.nc.g")).is_empty());
        assert!(!complaints("gb_attend_combine", &early.replace("ld.", "st.")).is_empty());
    }

    #[test]
    fn a_number_from_memory_is_no_address() {
        let indexed = "griddepcontrol.wait;
            ld.global.s32 %rd5, [%rd2];
            shl.b64 %rd6, %rd5, 2;
            add.s64 %rd7, %rd1, %rd6;
            ld.global.nc.u32 %r1, [%rd7];
            ret;";
        assert!(complaints("gb_embed", indexed).is_empty());
    }
}
