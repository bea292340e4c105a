//! Fifteen offers are fifteen files of three lines: one blueprint, checked, shown, run and reloaded.

use crate::support::Workspace;

const OFFERS: usize = 15;

fn blueprint(said: u32) -> String {
    format!(
        "parameters: {{ owner: null, greeting: Hello }}\n\
         trigger: {{ type: request, authentication: none }}\n\
         actions:\n  - name: say\n    type: respond\n    status: 200\n    body: {{ said: {said}, to: \"{{{{parameters.greeting}}}} {{{{parameters.owner}}}}\" }}\n"
    )
}

fn workspace() -> Workspace {
    let workspace = Workspace::empty();
    workspace.write("blueprints/lead.yaml", &blueprint(1));
    for number in 0..OFFERS {
        let offer = format!("description: offer {number}\nblueprint: lead\nparameters: {{ owner: seller-{number} }}\n");
        workspace.write(&format!("flows/offer-{number}.yaml"), &offer);
    }
    workspace
}

#[test]
fn an_offer_is_checked_shown_and_run_as_the_whole_of_it() {
    let workspace = workspace();
    assert_eq!(workspace.expect(0, &["check"]).trim(), format!("no findings in {OFFERS} files"));
    let shown = workspace.expect(0, &["flows", "show", "offer-7"]);
    for part in ["name: offer-7", "owner: seller-7", "greeting: Hello", "type: respond"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    // What is shown is a flow file of its own, and says the same.
    workspace.write("shown/whole.yaml", &shown);
    workspace.write("lead.json", "{}");
    let answer = |flow: &str| workspace.json(&["dry-run", flow, "--lead", "lead.json", "--json"])["actions"].clone();
    assert_eq!(answer("offer-7"), answer("shown/whole.yaml"));
    assert_eq!(answer("offer-7")[0]["inputs"]["body"]["to"], "Hello seller-7");
}

#[test]
fn what_is_wrong_with_a_blueprint_is_told_once_and_in_its_own_file() {
    let workspace = workspace();
    workspace.write("blueprints/lead.yaml", &blueprint(1).replace("parameters.owner", "parameters.onwer"));
    let told = workspace.expect(1, &["check"]);
    assert!(told.contains("blueprints/lead.yaml:7:"), "{told}");
    assert_eq!(told.matches("error[unknown_parameter]").count(), 1, "{told}");
    workspace.write("blueprints/lead.yaml", &blueprint(1));
    workspace.write("flows/offer-3.yaml", "blueprint: laed\n");
    let told = workspace.expect(1, &["check"]);
    assert!(told.contains("flows/offer-3.yaml:1:12  there is no blueprint `laed`; did you mean `lead`?"), "{told}");
}

#[test]
fn a_changed_blueprint_reloads_its_offers_and_a_broken_one_keeps_them() {
    let workspace = workspace();
    workspace.write("leadflow.yaml", "reload: { poll: 1s, quiet: 50ms }\n");
    let server = workspace.serve();
    let said = |number: usize| {
        let url = format!("http://{}/flows/offer-{number}", server.address("public"));
        crate::support::wire::post(&url, "{}").expect("an answer").json()["said"].clone()
    };
    assert_eq!((said(0), said(14)), (1.into(), 1.into()));
    workspace.write("blueprints/lead.yaml", &blueprint(2));
    workspace.expect(0, &["reload", "--wait"]);
    assert_eq!((said(0), said(14)), (2.into(), 2.into()));
    workspace.write("blueprints/lead.yaml", "parameters: {\n");
    workspace.expect(1, &["reload", "--wait"]);
    assert_eq!((said(0), said(14)), (2.into(), 2.into()));
}
