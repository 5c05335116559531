//! Folders as people edit them, and how every kind of broken YAML reads.

use std::{fs, io::Write as _, path::Path};

use api::Admitted;
use tempfile::TempDir;

use super::*;

/// The longest that a change may take to be seen, on a busy machine.
const SEEN_WITHIN: Duration = Duration::from_secs(10);

fn compiler() -> Compiler {
    Arc::new(|text: &str| match text.ends_with("==") {
        true => Err("unexpected end of input".to_owned()),
        false => Ok(()),
    })
}

fn write(folder: &TempDir, file: &str, text: &str) {
    fs::write(folder.path().join(file), text).expect("a file is written");
}

fn read_folder(folder: &TempDir) -> Arc<Input> {
    read(vec![folder.path().to_owned()], &compiler()).expect("the folder is there")
}

fn names(input: &Input) -> Vec<String> {
    input.objects.iter().map(|object| object.name().to_string()).collect()
}

/// Every error of an input, as a person reads it.
fn errors(input: &Input) -> Vec<String> {
    let of_objects = input.objects.iter().filter_map(Admitted::rejection);
    let mut errors: Vec<String> = of_objects.chain(&input.problems).map(ToString::to_string).collect();
    errors.sort();
    errors
}

fn namespace(name: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n")
}

#[track_caller]
fn reads(text: &str, expected: &[&str]) {
    let folder = TempDir::new().expect("a directory");
    write(&folder, "shop.yaml", text);
    assert_eq!(errors(&read_folder(&folder)), expected);
}

#[test]
fn broken_yaml_names_file_line_object_field_and_remedy() {
    let policy = |spec: &str| {
        format!(
            "apiVersion: strait.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {{name: p, namespace: shop}}\nspec:\n{spec}"
        )
    };
    let head = "  targetRefs: [{kind: Service, name: tools}]\n  action: Allow\n  rules:\n  - name: a\n";
    // Syntax: the object is known from what stands before the fault.
    reads(
        &policy(&format!("{head}    from: [{{anyone: true}}\n    to:\n    - ports: [80]\n")),
        &["shop.yaml:10: AccessPolicy shop/p: is not YAML: illegal placement of ':' indicator; look at \
           this line and the one above: indentation, a missing colon, an open quote"],
    );
    reads(
        &policy(&format!("{head}    form: [{{anyone: true}}]\n")),
        &["shop.yaml:9: AccessPolicy shop/p: spec.rules[0].form: unknown field; did you mean from?"],
    );
    reads(
        &policy(&format!("{head}    from: [{{anyone: \"true\"}}]\n")),
        &[
            "shop.yaml:9: AccessPolicy shop/p: spec.rules[0].from[0].anyone: is the text \"true\", where true or false is \
           needed",
        ],
    );
    reads(
        &policy(&format!("{head}    from: [{{anyone: true}}]\n    to:\n    - ports: [70000]\n")),
        &[
            "shop.yaml:11: AccessPolicy shop/p: spec.rules[0].to[0].ports[0]: is 70000, where a number of 0 to 65535 is \
           needed",
        ],
    );
    reads(
        &policy(&format!("{head}    from: [{{anyone: true}}]\n    to:\n    - ports: [0]\n")),
        &[
            "shop.yaml:11: AccessPolicy shop/p: spec.rules[0].to[0].ports[0]: 0 is not a port; a port is 1 to 65535",
        ],
    );
    reads(
        &policy(&format!("{head}    from: [{{anyone: true}}]\n    when: request.path ==\n")),
        &[
            "shop.yaml:10: AccessPolicy shop/p: spec.rules[0].when: is not a CEL expression: unexpected end of input; for \
           example request.headers['x-team'] == 'docs'",
        ],
    );
    reads(
        &policy(&format!(
            "{head}    from: [{{anyone: true}}]\n    to:\n    - http: {{paths: [{{pattern: \"/a(\"}}]}}\n"
        )),
        &[
            "shop.yaml:11: AccessPolicy shop/p: spec.rules[0].to[0].http.paths[0].pattern: is not a regular expression: \
           unclosed group; RE2's syntax is understood: no look-around, no back references",
        ],
    );
    reads(
        &policy(&format!("{head}    from:\n")),
        &[
            "shop.yaml:9: AccessPolicy shop/p: spec.rules[0].from: is left blank; write a value, or take the field out",
        ],
    );
    reads(
        &format!("{}---\n{}", namespace("shop"), namespace("shop")),
        &[
            "shop.yaml:5: Namespace shop: is written a second time; the one at shop.yaml:1 counts; take one of them out",
        ],
    );
    reads(
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n  name: shop\n",
        &["shop.yaml:5: Namespace shop: name is written twice; take one of them out"],
    );
    reads("hello\n", &["shop.yaml:1: is not an object; an object has apiVersion, kind, metadata and spec"]);
    reads(
        "a: &a [*a]\n",
        &[
            "shop.yaml:1: is not YAML: recursive references require weak recursion types; look at this line and the one \
           above: indentation, a missing colon, an open quote",
        ],
    );
}

#[test]
fn one_broken_object_leaves_the_others() {
    let folder = TempDir::new().expect("a directory");
    write(&folder, "a.yaml", &format!("{}---\nkind: [\n---\n{}", namespace("one"), namespace("two")));
    write(
        &folder,
        "b.yml",
        "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Namespace, metadata: {name: three}}\n- {apiVersion: v1, kind: Namespace, metadata: {nmae: four}}\n",
    );
    write(
        &folder,
        "c.json",
        "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"Namespace\",\n\t\"metadata\": {\"name\": \"five\"}\n}\n",
    );
    write(&folder, "d.txt", "no YAML");
    write(&folder, ".e.yaml", "no YAML");
    fs::create_dir(folder.path().join("inner")).expect("a folder");
    write(&folder, "inner/f.yaml", &namespace("six"));
    let input = read_folder(&folder);
    assert_eq!(
        names(&input),
        ["Namespace five", "Namespace one", "Namespace six", "Namespace three", "Namespace two"]
    );
    assert_eq!(input.problems.len(), 2, "{:?}", errors(&input));
}

#[test]
fn files_are_bounded() {
    let folder = TempDir::new().expect("a directory");
    let padded = |bytes: usize| {
        let text = namespace("shop");
        format!("{text}#{}", "x".repeat(bytes - text.len() - 1))
    };
    write(&folder, "a.yaml", &padded(folder::FILE_BYTES_MAX as usize));
    assert_eq!(errors(&read_folder(&folder)), Vec::<String>::new());
    write(&folder, "a.yaml", &padded(folder::FILE_BYTES_MAX as usize + 1));
    assert_eq!(
        errors(&read_folder(&folder)),
        ["a.yaml: has more than 8 MiB, and is not read; split it; until then what it said stays in force"]
    );
    write(&folder, "a.yaml", &"- ".repeat(5_000_000));
    assert_eq!(errors(&read_folder(&folder)).len(), 1, "10 MB of nothing but nesting");
    fs::write(folder.path().join("a.yaml"), b"a: 1\nb: \xff\n").expect("a file is written");
    assert_eq!(
        errors(&read_folder(&folder)),
        [
            "a.yaml: cannot be read: line 2 is not UTF-8; make it readable; until then what it said stays in force"
        ]
    );
}

#[test]
fn the_first_by_file_and_line_wins() {
    let folder = TempDir::new().expect("a directory");
    let labelled = |label: &str| {
        format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: shop, labels: {{from: {label}}}}}\n")
    };
    write(&folder, "b.yaml", &labelled("b"));
    write(&folder, "a.yaml", &format!("{}---\n{}", labelled("a1"), labelled("a2")));
    let input = read_folder(&folder);
    let object = input.objects[0].object().expect("it is accepted");
    assert_eq!(object.labels().text("from"), Some("a1"));
    assert_eq!(input.problems.len(), 2);
}

#[test]
fn the_examples_are_accepted() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let examples =
        if examples.is_dir() { examples } else { Path::new(env!("CARGO_MANIFEST_DIR")).join("examples") };
    for part in ["minimal", "demo/east", "demo/west"] {
        let input = read(vec![examples.join(part)], &compiler()).expect("the example is there");
        assert_eq!(errors(&input), Vec::<String>::new(), "{part}");
        assert!(!input.objects.is_empty(), "{part}");
    }
    let minimal =
        fs::read_to_string(examples.join("minimal/shop.yaml")).expect("the minimal example is one file");
    assert!(minimal.lines().count() < 40, "it has {} lines", minimal.lines().count());
}

struct Running {
    folder: TempDir,
    watch: Watch,
    inputs: watch::Receiver<Arc<Input>>,
}

impl Running {
    fn start(files: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().expect("a directory");
        for (file, text) in files {
            write(&folder, file, text);
        }
        let config = Config { paths: vec![folder.path().to_owned()], accepted: None };
        let watch = Watch::start(config, compiler()).expect("it is watched");
        let inputs = watch.inputs();
        Self { folder, watch, inputs }
    }

    /// Waits until this holds of what counts.
    #[track_caller]
    fn until(&mut self, what: &str, holds: impl Fn(&Input) -> bool) -> Duration {
        let begin = Instant::now();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let waited = runtime.block_on(async {
            tokio::time::timeout(SEEN_WITHIN, self.inputs.wait_for(|input| holds(input))).await.map(|input| {
                input.expect("the watch goes on");
            })
        });
        assert!(waited.is_ok(), "{what}: {:?}", errors(&self.watch.inputs().borrow()));
        begin.elapsed()
    }
}

#[test]
fn the_first_input_is_there_at_once_and_edits_follow() {
    let mut running = Running::start(&[("a.yaml", &namespace("one"))]);
    assert_eq!(names(&running.inputs.borrow()), ["Namespace one"]);
    let mut fastest = Duration::MAX;
    for edit in 0..5 {
        let name = format!("edit-{edit}");
        write(&running.folder, "a.yaml", &namespace(&name));
        fastest =
            fastest.min(running.until("an edit", |input| names(input) == [format!("Namespace {name}")]));
    }
    // The best of several: others share this machine. 100 ms are for the whole way to the proxies.
    assert!(fastest < Duration::from_millis(60), "an edit took {fastest:?}");
    fs::remove_file(running.folder.path().join("a.yaml")).expect("it is there");
    running.until("a removal", |input| input.objects.is_empty());
}

#[test]
fn an_editor_that_renames_is_one_change() {
    let mut running = Running::start(&[("a.yaml", &namespace("one"))]);
    let (target, backup) = (running.folder.path().join("a.yaml"), running.folder.path().join("a.yaml~"));
    let mut looked = running.watch.inputs();
    looked.borrow_and_update();
    fs::rename(&target, &backup).expect("it is there");
    write(&running.folder, "a.yaml", &format!("{}---\n{}", namespace("one"), namespace("two")));
    fs::remove_file(&backup).expect("it is there");
    running.until("a rename", |input| input.objects.len() == 2);
    // It never was without `one`: the first change that was handed on is the whole.
    assert_eq!(looked.borrow_and_update().generation, 2);
    // And the other habit: a new file that is put in the place of the old one.
    write(&running.folder, ".a.yaml.swp", &namespace("three"));
    fs::rename(running.folder.path().join(".a.yaml.swp"), &target).expect("it is there");
    running.until("a replacement", |input| names(input) == ["Namespace three"]);
    assert_eq!(looked.borrow_and_update().generation, 3);
}

#[test]
fn a_file_that_is_being_written_is_not_read() {
    let mut running =
        Running::start(&[("a.yaml", &format!("{}---\n{}", namespace("one"), namespace("two")))]);
    let mut file = fs::File::create(running.folder.path().join("a.yaml")).expect("it is there");
    file.write_all(namespace("one").as_bytes()).expect("it is written");
    file.flush().expect("it is written");
    // Another file is read meanwhile; this one still says what it said.
    write(&running.folder, "b.yaml", &namespace("three"));
    running.until("another file", |input| names(input).contains(&"Namespace three".to_owned()));
    assert_eq!(names(&running.inputs.borrow()), ["Namespace one", "Namespace three", "Namespace two"]);
    file.write_all(format!("---\n{}", namespace("four")).as_bytes()).expect("it is written");
    drop(file);
    running.until("the whole file", |input| {
        names(input) == ["Namespace four", "Namespace one", "Namespace three"]
    });
}

#[test]
fn folders_that_come_are_watched() {
    let mut running = Running::start(&[]);
    fs::create_dir(running.folder.path().join("new")).expect("a folder");
    write(&running.folder, "new/a.yaml", &namespace("one"));
    running.until("a new folder", |input| names(input) == ["Namespace one"]);
    write(&running.folder, "new/a.yaml", &namespace("two"));
    running.until("an edit in it", |input| names(input) == ["Namespace two"]);
}

#[test]
fn a_bad_edit_keeps_the_last_good_and_a_good_one_ends_that() {
    let mut running = Running::start(&[("a.yaml", &namespace("one"))]);
    write(&running.folder, "a.yaml", &namespace("one").replace("{name: one}", "{name: one, lables: {}}"));
    running.until("a bad edit", |input| matches!(input.objects[..], [Admitted::LastGood { .. }]));
    write(&running.folder, "a.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: one\n");
    running.until("a worse edit", |input| errors(input).iter().any(|error| error.contains("is not YAML")));
    assert!(matches!(running.inputs.borrow().objects[..], [Admitted::LastGood { .. }]));
    write(&running.folder, "a.yaml", &namespace("one"));
    running.until("a good edit", |input| matches!(input.objects[..], [Admitted::Accepted { .. }]));
    assert_eq!(running.inputs.borrow().problems, []);
}

#[test]
fn a_path_that_is_not_there_is_an_error_at_the_start() {
    let config = Config { paths: vec!["/nowhere/at/all".into()], accepted: None };
    assert!(matches!(Watch::start(config, compiler()), Err(WatchError::Path { .. })));
}
