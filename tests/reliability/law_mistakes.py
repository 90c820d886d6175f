"""The mistakes of `test_law_mutants.py`: the law, the test that fails, the place, and what is changed there."""

from __future__ import annotations

from mistakes import (
    Mistake,
    bad_input_ends_with_1,
    baseline_forgotten,
    best_weights_forgotten,
    curriculum_without_effect,
    inner_loss_weighed,
    policy_forgotten,
    position_in_the_streams_forgotten,
    rewards_weighed_too,
    rows_are_not_cut_back,
    state_kept_over_epochs,
    state_lost,
    state_with_its_graph,
    stop_ends_with_1,
    temperature_forgotten,
    trigger_of_averaging_forgotten,
    weights_of_the_data_forgotten,
)

CURRICULA, SCORING = "tests/curricula/", "tests/training/test_scoring.py::"
KILLED = "tests/training/test_search_loop.py::test_a_killed_search_goes_on_from_its_checkpoint_exactly"
STOPPED = "tests/training/test_search_loop.py::test_a_search_stopped_at_any_step_goes_on_exactly"
SIGNAL = "tests/reliability/test_signals.py::test_a_signal_asks_for_a_stop_which_ends_with_75"
AVERAGED = "tests/training/test_retrain.py::test_a_stop_around_the_switch_to_averaging_is_resumed_exactly"
STREAMS, IMAGES = "tests/data/test_streams.py::", "tests/data/test_image_batches.py::"
STATE = "tests/training/test_hidden_state.py"
CHECKPOINT = "tests/training/test_checkpoint.py::"
ONE_CHUNK_WALK = f"{STREAMS}test_chunks_walk_each_stream_in_order_and_units_are_dense"
NORMALISE = "cnas.curricula:normalized_weights"
PATHS = "cnas.spaces.darts_rnn.supernet:DartsRnnSuperNet.run_paths"
MISTAKES = [
    # The curriculum
    Mistake(
        "weights sum to N",
        f"{CURRICULA}test_weights.py::test_weights_are_not_negative_and_have_mean_one",
        NORMALISE,
        (("len(scaled_U) / scaled_U.sum()", "1 / scaled_U.sum()"),),
    ),
    Mistake(
        "all equal or zero gives 1",
        f"{CURRICULA}test_weights.py::test_where_all_scores_are_equal_or_zero_every_weight_is_exactly_one",
        NORMALISE,
        (("scores_U.min() == scores_U.max()", "False"),),
    ),
    Mistake(
        "the scale of the losses does not matter",
        f"{CURRICULA}test_weights.py::test_the_scale_of_the_scores_does_not_matter",
        NORMALISE,
        (("exact_U / exact_U.max()", "exact_U + 1e-3"),),
        slow=True,
    ),
    Mistake(
        "σ is the root of the mean loss",
        f"{CURRICULA}test_weights.py::test_uncertainty_is_the_root_of_the_mean_loss",
        "cnas.curricula:uncertainty",
        (("mean_losses(losses_KU).sqrt()", "mean_losses(losses_KU)"),),
        slow=True,
    ),
    Mistake(
        "v multiplies the weight loss",
        "tests/contract/test_search.py::test_the_curriculum_bites[enas-enas_rnn-uncertainty-sequence-step]",
        patched=curriculum_without_effect,
        slow=True,
    ),
    Mistake(
        "v never multiplies the architecture loss",
        "tests/training/test_architecture_loss.py::test_the_architecture_learns_from_unweighted_losses[enas-enas_rnn]",
        patched=rewards_weighed_too,
    ),
    Mistake(
        "v never multiplies the inner loss unless it is asked for",
        "tests/algorithms/test_darts_search.py::test_weighted_inner_acts_on_the_unrolled_step_of_a_curriculum_alone",
        patched=inner_loss_weighed,
        slow=True,
    ),
    Mistake(
        "K = 0 is the plain algorithm",
        "tests/contract/test_search.py::test_without_judges_it_is_the_plain_algorithm"
        "[rsps-enas_rnn-uncertainty-token-step]",
        "cnas.training.search_parts:set_up",
        (
            ("curriculum is None or not curriculum.active", "curriculum is None"),
            ("return curriculum.setup(", "return type(curriculum)(refresh=curriculum.refresh).setup("),
        ),
    ),
    Mistake(
        "v is refreshed after every epoch but the last",
        f"{CURRICULA}test_curriculum.py::test_all_data_is_scored_after_every_epoch_but_the_last",
        "cnas.curricula:Curriculum.due",
        (("progress.epoch + 1 >=", "progress.epoch >="),),
    ),
    Mistake(
        "rows record the median of v",
        f"{CURRICULA}test_curriculum.py::test_statistics_are_those_of_the_weights",
        "cnas.curricula:Curriculum.statistics",
        (("v.median()", "v.mean()"),),
    ),
    Mistake(
        "rows record the effective sample size as a share of N",
        f"{CURRICULA}test_curriculum.py::test_statistics_are_those_of_the_weights",
        "cnas.curricula:Curriculum.statistics",
        (("v.square().sum() / len(v)", "v.square().sum()"),),
    ),
    Mistake(
        "a unit keeps its weight until it is scored",
        f"{CURRICULA}test_curriculum.py::test_an_update_leaves_the_other_units_alone",
        "cnas.curricula:Curriculum.update",
        (("self.v[to_device(", "self.v[:] = 1\n        self.v[to_device("),),
        slow=True,
    ),
    Mistake(
        "scoring has no dropout",
        f"{SCORING}test_units_get_the_mean_loss_of_their_positions",
        "cnas.spaces.enas_rnn.supernet:EnasRnnSuperNet.run_paths",
        (("NO_MASKS", "self.shell.masks(len(batch.inputs), None)"),),
    ),
    Mistake(
        "scoring draws nothing",
        f"{SCORING}test_scoring_changes_nothing",
        "cnas.spaces.enas_rnn.supernet:EnasRnnSuperNet.run_paths",
        (("NO_MASKS", "self.shell.masks(len(batch.inputs), None)"),),
        slow=True,
    ),
    Mistake(
        "scoring leaves the buffers alone",
        "tests/spaces/test_nats_supernet.py::test_candidates_are_judged_apart_and_leave_no_trace[paths]",
        "cnas.spaces.base:SuperNet.evaluated",
        (("self.eval()", "self.train()"),),
    ),
    Mistake(
        "scoring has no gradient",
        "tests/spaces/test_nats_supernet.py::test_candidates_are_judged_apart_and_leave_no_trace[paths]",
        "cnas.spaces.base:SuperNet.evaluated",
        (("self.eval()", "torch.set_grad_enabled(self.eval() is self)"),),
        slow=True,
    ),
    Mistake(
        "statistics are a candidate's own",
        "tests/oracle/test_darts_cell.py::test_many_at_once_are_as_many_single_forwards[3]",
        PATHS,
        (
            ("BatchNorm(hidden_KBH,", "BatchNorm(hidden_KBH.flatten(0, 1),"),
            ("norm.apply_)", "lambda states: norm.apply_(states.flatten(0, 1)))"),
        ),
    ),
    Mistake(
        "scoring consumes no randomness of training",
        "tests/training/test_search_loop.py::test_no_two_purposes_share_a_draw",
        "cnas.training.search:SearchLoop._candidates",
        (('"judges"', '"probe"'),),
    ),
    Mistake(
        "images are scored in one drawn order",
        f"{IMAGES}test_the_order_of_the_judges_belongs_to_seed_and_stream_and_to_nothing_else",
        "cnas.data.image_batches:ImageBatches.scoring_view",
        (('"once"', "True"),),
        slow=True,
    ),
    Mistake(
        "a last batch of one joins the one before",
        f"{IMAGES}test_every_image_is_in_a_pass_once_and_none_is_alone",
        "cnas.data.image_batches:ImageBatches.__len__",
        (("rest > 1", "rest > 0"),),
    ),
    Mistake(
        "no disconnected architecture is drawn",
        "tests/algorithms/test_rsps.py::test_routes_are_uniform_over_the_connected_paths",
        "cnas.spaces.base:SearchSpace.sample",
        (("if self.is_connected(found)", "if True"),),
    ),
    Mistake(
        "no disconnected architecture is a candidate",
        "tests/algorithms/test_enas.py::test_routes_include_disconnected_architectures_and_candidates_do_not",
        "cnas.algorithms.enas:ENAS._draw",
        ((" if self.space.is_connected(architecture)", ""),),
        slow=True,
    ),
    Mistake(
        "no disconnected architecture is derived",
        "tests/algorithms/test_alphas.py::test_disconnected_architectures_are_passed_over_and_counted",
        "cnas.algorithms._relaxation:Alphas.best_available",
        ((" if self.space.is_connected(found)", ""),),
        slow=True,
    ),
    Mistake(
        "341 cells of NATS are disconnected",
        "tests/spaces/test_nats_space.py::test_341_cells_are_not_connected",
        "cnas.spaces.nats.topology:is_connected",
        (("operation != NONE", "operation >= NONE"),),
        slow=True,
    ),
    # Language models
    Mistake(
        "chunks are cut at multiples of the length",
        ONE_CHUNK_WALK,
        "cnas.data.streams:TextStreams.batch",
        (("self._cuts[index : index + 2]", "(cut - index for cut in self._cuts[index : index + 2])"),),
    ),
    Mistake(
        "a unit is a chunk of a stream",
        ONE_CHUNK_WALK,
        "cnas.data.streams:TextStreams._unit_ids",
        (("(index * self.batch_size + streams_B1)", "(index + 0 * streams_B1)"),),
        slow=True,
    ),
    Mistake(
        "training drops the tail",
        ONE_CHUNK_WALK,
        "cnas.data.streams:TextStreams.__init__",
        (('predictions if tail == "keep" else', "predictions if True else"),),
        slow=True,
    ),
    Mistake(
        "perplexity predicts every token once",
        f"{STREAMS}test_one_stream_with_a_start_predicts_every_token_once",
        "cnas.data.streams:TextStreams.__init__",
        (("if start is not None", "if False"),),
        slow=True,
    ),
    Mistake(
        "perplexity does not depend on the chunk length",
        "tests/training/test_evaluate.py::test_the_exact_loss_does_not_depend_on_the_chunk_length",
        "cnas.spaces._causal_lm:RecurrentLanguageModel.run",
        (("hidden_state, masks.hidden)", "None, masks.hidden)"),),
    ),
    Mistake("the state goes along a stream", STATE, patched=state_lost),
    Mistake("the state is detached", STATE, patched=state_with_its_graph, slow=True),
    Mistake("the state starts anew with an epoch", STATE, patched=state_kept_over_epochs, slow=True),
    # Randomness
    Mistake(
        "a draw is a function of its counters",
        "tests/test_random_streams.py::test_the_way_from_a_name_to_numbers_is_frozen",
        "cnas.random:generator",
        (("[str(seed), stream, *map(str, counters)]", "[str(seed), stream]"),),
    ),
    Mistake(
        "a draw is a function of the seed",
        "tests/test_random_streams.py::test_the_way_from_a_name_to_numbers_is_frozen",
        "cnas.random:generator",
        (("[str(seed), stream,", "[stream,"),),
        slow=True,
    ),
    Mistake(
        "masks are drawn for the global batch, then cut",
        "tests/spaces/test_dropout_masks.py::test_processes_cut_their_rows_out_of_the_same_masks",
        "cnas.spaces._language_model:locked_mask",
        (("(dropout_seeds.total, *shape[1:])", "shape"), ("mask[dropout_seeds.rows]", "mask")),
    ),
    Mistake(
        "every step has masks of its own",
        "tests/spaces/test_dropout_masks.py::test_every_step_and_every_kind_has_draws_of_its_own",
        "cnas.random:DropoutSeeds.generator",
        ((", self.step)", ")"),),
        slow=True,
    ),
    Mistake(
        "no draw comes from the global generator",
        "tests/contract/test_search.py::test_a_route_draws_from_its_generator_alone[nats-spos]",
        "cnas.spaces.base:SearchSpace.sample",
        (("generator=generator", "generator=None"),),
        slow=True,
    ),
    # Many processes, as far as one can see it in one
    Mistake(
        "processes share the rows of an uneven batch",
        f"{STREAMS}test_rank_rows_are_contiguous_balanced_and_complete",
        "cnas.data.base:process_rows",
        (("total * (rank + 1) // world", "total // world * (rank + 1)"),),
    ),
    Mistake(
        "statistics are taken over all processes",
        "tests/spaces/test_batch_norm.py::test_shared_rows_are_normalised_like_one_batch",
        "cnas.spaces.darts_rnn.norm:BatchNorm._mean",
        (("if self.all_reduce_sum is None", "if True"),),
    ),
    Mistake(
        "statistics are taken over all processes",
        "tests/spaces/test_nats_norm.py::test_shared_images_are_normalised_like_one_batch",
        "cnas.spaces.nats.norm:BatchNorm._from_sums",
        (("all_reduce_sum(centred.square().sum((0, 2, 3)))", "centred.square().sum((0, 2, 3))"),),
        slow=True,
    ),
    # Resume
    Mistake("a resume knows v", f"{KILLED}[epoch-sequence-None-8]", patched=weights_of_the_data_forgotten),
    Mistake("a resume knows the policy", f"{KILLED}[epoch-sequence-None-8]", patched=policy_forgotten, slow=True),
    Mistake("a resume knows the baseline", f"{KILLED}[epoch-sequence-None-8]", patched=baseline_forgotten, slow=True),
    Mistake(
        "a resume knows τ",
        "tests/algorithms/test_gdas.py::test_a_restart_goes_on_bit_for_bit",
        patched=temperature_forgotten,
    ),
    Mistake(
        "a resume knows the state of the streams",
        f"{KILLED}[epoch-sequence-3-12]",
        patched=position_in_the_streams_forgotten,
        slow=True,
    ),
    Mistake("a resume knows the trigger", f"{AVERAGED}[15]", patched=trigger_of_averaging_forgotten, slow=True),
    Mistake("a resume knows the best weights", f"{AVERAGED}[15]", patched=best_weights_forgotten, slow=True),
    Mistake("rows are cut back", f"{KILLED}[epoch-sequence-None-8]", patched=rows_are_not_cut_back, slow=True),
    Mistake(
        "a checkpoint is synced before it is renamed",
        "tests/training/test_checkpoint_faults.py::test_every_file_is_synced_before_the_rename_and_its_folder_after",
        "cnas.durable:write_file",
        (("os.fsync(file.fileno())", "pass"),),
    ),
    Mistake(
        "a checkpoint is verified",
        "tests/training/test_checkpoint_faults.py::test_every_truncation_and_every_flipped_bit_is_found",
        "cnas.training.checkpoint:_verified",
        (("_sha256(data) != sha256", "False"),),
    ),
    Mistake(
        "older checkpoints go after the commit",
        f"{CHECKPOINT}test_a_broken_later_checkpoint_does_not_push_out_the_one_just_saved",
        "cnas.training.checkpoint:_purge",
        (("elif found <= step", "else"),),
        slow=True,
    ),
    Mistake(
        "another configuration is refused",
        f"{CHECKPOINT}test_another_configuration_is_the_users_error",
        "cnas.training.checkpoint:_verified_contents",
        (('(None, body["config_hash"])', '(None, config_hash, body["config_hash"])'),),
        slow=True,
    ),
    Mistake(
        "SIGTERM asks for a stop",
        SIGNAL,
        "cnas.training.context:StopSignal.on_signals",
        (("self.request(signal.Signals(number).name)", "pass"),),
    ),
    Mistake("a stop ends with 75", SIGNAL, patched=stop_ends_with_1),
    Mistake(
        "a stop comes at the next step",
        f"{STOPPED}[epoch-sequence-5]",
        "cnas.training.loop:AccelerateLoop._global_loss",
        (("self.context.stop.reason is not None", "False"),),
        slow=True,
    ),
    Mistake(
        "a stop saves",
        f"{STOPPED}[epoch-sequence-5]",
        "cnas.training.loop:AccelerateLoop.stop_here",
        (("self.save()", "pass"),),
        slow=True,
    ),
    # Bad input
    Mistake(
        "bad input is refused before anything is trained or written",
        "tests/test_bad_input.py::test_flags",
        "cnas.curricula:Curriculum.__post_init__",
        (("self.num_candidates >= 0", "True"),),
        slow=True,
    ),
    Mistake("bad input ends with 2", "tests/test_bad_input.py::test_flags", patched=bad_input_ends_with_1, slow=True),
]
