mod bugs;
mod laws;
mod net;
mod random;
mod script;
mod slices;

use script::Script;

/// Each file of `testdata` is a finding; `UPDATE_GOLDENFILES=1` rewrites them.
macro_rules! findings {
    ($($name:ident),+ $(,)?) => {
        $(#[test]
        fn $name() {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/swim/testdata/");
            let path = std::format!("{folder}{}.txt", stringify!($name));
            goldenscript::run(&mut Script::new(), path).expect("the script runs as recorded");
        })+

        #[test]
        fn every_finding_is_run() {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/swim/testdata/");
            let files = std::fs::read_dir(folder).expect("the folder is there").count();
            assert_eq!(files, [$(stringify!($name)),+].len());
        }
    };
}

findings!(
    a_suspect_that_lives_refutes,
    a_dead_node_is_down_after_the_suspicion_time,
    others_keep_an_unreachable_node_alive,
    an_older_incarnation_changes_nothing,
    a_leaver_is_left_not_down,
    a_node_at_another_address_is_the_same_node,
    a_node_that_learns_where_it_is_tells_all,
    a_restarted_node_rises_above_its_earlier_life,
    a_forged_incarnation_is_dropped,
    a_healed_partition_makes_one_view,
    a_paused_node_accuses_nobody_and_comes_back,
    two_nodes_are_a_cluster,
    one_node_is_a_cluster,
    a_removed_member_stays_out,
    what_a_node_says_of_itself_reaches_all,
    a_node_that_hears_nothing_goes_down,
    a_peer_heard_on_a_stream_is_not_suspected,
    a_stream_is_the_last_way,
    a_helper_that_is_well_says_so,
    an_answer_of_another_settles_nothing,
    without_a_valid_ticket_nothing_changes,
    each_transition_has_its_evidence,
);
