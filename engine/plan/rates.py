"""The rates of the cost model, in nanoseconds per unit of each feature of `engine.plan.estimate`.

Fitted by non-negative least squares of relative errors to single-thread times of every op of the reports' networks at
batch 1, 16 and 64: `python -m experiments.checks.algorithms --fit`, on a 3.9 GHz Zen 5 (FMA peak 250 GFLOP/s with
AVX-512, 127 with AVX2). The algorithms that they choose lose more than 10 % of the time in 11 of 409 cases with
AVX-512. AVX2's were fitted to an earlier state of the kernels (14 of 411), "pick" is taken to need twice AVX-512's.
"neon" and "portable" were not measured: they have AVX2's rates for their own register tiles.
"""

TILES = {"avx512": (14, 32, 16), "avx2": (6, 16, 8), "neon": (6, 16, 4), "portable": (2, 16, 4)}
"""Instruction set → rows and columns of the largest register tile, and floats of a vector."""

RATES: dict[str, dict[str, tuple[float, ...]]] = {
    "avx512": {
        "direct.forward": (0.2499, 0.0, 0.02789, 0.004488, 0.01057, 0.0),
        "direct.backward_data": (0.2768, 24.97, 0.0, 0.04561, 0.1778, 1356.0),
        "direct.backward_weights": (0.3095, 24.17, 0.01227, 0.007549, 0.03201, 0.0),
        "pick.backward_weights": (0.441, 0.3803, 0.0, 276.9),
        "direct.backward_data.pooled": (0.3445, 0.0, 0.5173, 0.0, 0.252, 0.09924, 562.4),
        "direct.backward_weights.pooled": (0.2479, 0.6482, 0.3316, 0.0, 0.1075, 0.137, 1111.0),
        "winograd2x3.forward": (0.2542, 27.17, 0.03084, 0.0859, 0.0, 0.04541, 0.0, 0.0),
        "winograd2x3.backward_data": (0.2757, 0.0, 0.04203, 0.1178, 0.0, 0.0316, 0.0, 0.0),
        "winograd2x3.backward_weights": (0.248, 0.0, 0.04558, 0.1336, 0.1401, 0.0, 0.1214, 0.0),
        "winograd2x3.backward_data.pooled": (0.2815, 32.98, 0.04965, 0.05777, 0.0, 0.02707, 0.0, 0.0),
        "winograd2x3.backward_weights.pooled": (0.201, 33.93, 0.2137, 0.06527, 0.01641, 0.01688, 0.1577, 0.0),
        "winograd4x3.forward": (0.2478, 1.772, 0.09174, 0.1182, 0.0, 0.03422, 0.05624, 0.0),
        "winograd4x3.backward_data": (0.2898, 0.0, 0.0692, 0.06311, 0.005338, 0.01252, 0.05901, 0.0),
        "winograd4x3.backward_weights": (0.27, 0.0, 0.008415, 0.1782, 0.1195, 0.0, 0.1545, 0.0),
        "winograd4x3.backward_data.pooled": (0.2695, 3.418, 0.07151, 0.1273, 0.0, 0.02323, 0.05937, 0.0),
        "winograd4x3.backward_weights.pooled": (0.1747, 0.0, 0.2617, 0.1022, 0.1095, 0.0, 0.1889, 0.0),
        "winograd4x5.forward": (0.3922, 0.0, 0.08574, 0.1297, 0.0, 0.0, 0.07739, 72.26),
        "winograd4x5.backward_data": (0.4523, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0931, 87900.0),
        "winograd4x5.backward_weights": (0.2531, 0.0, 0.0, 0.2216, 0.2258, 0.0, 0.0, 0.0),
        "winograd4x5.backward_data.pooled": (0.0, 5.073, 0.3434, 0.0, 0.0, 0.0, 0.0, 166.4),
        "winograd4x5.backward_weights.pooled": (0.0, 19.57, 0.3842, 0.0, 0.0, 0.0, 0.0, 0.0),
        "winograd_filter2x3": (0.03421, 0.08546, 0.08309, 30.9),
        "winograd_filter4x3": (0.04163, 0.2419, 0.07207, 11.42),
        "winograd_filter4x5": (0.03644, 0.364, 0.14, 70.47),
        "winograd_filter_backward2x3": (0.2234, 0.0, 0.4637, 0.0),
        "winograd_filter_backward4x3": (0.254, 0.0, 0.3298, 0.0),
        "winograd_filter_backward4x5": (0.1017, 0.3931, 0.3769, 0.0),
        "linear_forward": (0.2287, 0.01117, 0.0, 21.71),
        "linear_backward_data": (0.1724, 0.1222, 0.03614, 282.7),
        "linear_backward_weights": (0.2627, 0.02167, 0.01667, 154.9),
        "stream": (0.006845, 0.014, 36.88),
        "update": (0.009035, 0.0),
    },
    "avx2": {
        "direct.forward": (0.2808, 0.0, 0.04238, 0.001577, 0.01297, 0.0),
        "direct.backward_data": (0.3098, 0.0, 0.0, 0.0467, 0.2121, 0.0),
        "direct.backward_weights": (0.3058, 22.58, 0.01584, 0.0, 0.0, 0.0),
        "pick.backward_weights": (0.882, 0.7606, 0.0, 276.9),
        "direct.backward_data.pooled": (0.8407, 0.0, 0.0, 0.0, 0.3496, 0.0, 2545.0),
        "direct.backward_weights.pooled": (0.4503, 1.16, 0.01814, 0.0, 0.1094, 0.1464, 1769.0),
        "winograd2x3.forward": (0.2686, 0.0, 0.2273, 0.2454, 0.0, 0.04127, 0.0, 0.0),
        "winograd2x3.backward_data": (0.3218, 0.0, 0.02535, 0.1446, 0.0, 0.02128, 0.0, 0.0),
        "winograd2x3.backward_weights": (0.2101, 0.0, 0.0, 0.1571, 0.3279, 0.0, 0.0, 0.0),
        "winograd2x3.backward_data.pooled": (0.3225, 0.0, 0.2231, 0.0647, 0.0, 0.01415, 0.0, 155.3),
        "winograd2x3.backward_weights.pooled": (0.3523, 0.0, 0.2617, 0.08285, 0.0, 0.1619, 0.1989, 0.0),
        "winograd4x3.forward": (0.28, 0.0, 0.2324, 0.2938, 0.0, 0.021, 0.07571, 0.0),
        "winograd4x3.backward_data": (0.3619, 0.0, 0.0, 0.1547, 0.0, 0.0, 0.06099, 0.0),
        "winograd4x3.backward_weights": (0.294, 0.0, 0.0, 0.181, 0.1849, 0.03013, 0.1263, 0.0),
        "winograd4x3.backward_data.pooled": (0.3587, 0.0, 0.2138, 0.09536, 0.0, 0.004593, 0.03905, 0.0),
        "winograd4x3.backward_weights.pooled": (0.238, 0.0, 0.2902, 0.1132, 0.2499, 0.0, 0.03218, 0.0),
        "winograd4x5.forward": (0.439, 0.0, 0.3423, 0.2623, 0.0, 0.0, 0.0, 0.0),
        "winograd4x5.backward_data": (0.4252, 0.0, 0.9411, 0.0, 0.0, 0.0, 0.0, 0.0),
        "winograd4x5.backward_weights": (0.7374, 0.0, 0.0, 0.1273, 0.0, 0.0, 0.8023, 0.0),
        "winograd4x5.backward_data.pooled": (0.9038, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        "winograd4x5.backward_weights.pooled": (0.0, 27.57, 0.5292, 0.0, 0.05776, 0.0, 0.0, 0.0),
        "winograd_filter2x3": (0.05431, 0.2584, 0.09269, 37.41),
        "winograd_filter4x3": (0.0649, 0.6744, 0.1445, 17.22),
        "winograd_filter4x5": (0.0676, 0.9579, 0.4238, 134.3),
        "winograd_filter_backward2x3": (0.3558, 0.0, 0.613, 0.0),
        "winograd_filter_backward4x3": (0.6721, 0.0, 0.5382, 0.0),
        "winograd_filter_backward4x5": (0.2177, 1.088, 0.4701, 0.0),
        "linear_forward": (0.2771, 0.003195, 0.0, 47.21),
        "linear_backward_data": (0.2561, 0.1588, 0.0595, 654.6),
        "linear_backward_weights": (0.2695, 0.02229, 0.04745, 331.8),
        "stream": (0.005716, 0.0233, 38.18),
        "update": (0.01854, 0.0),
    },
}
"""Instruction set → kind of work → nanoseconds per unit of each feature."""

RATES["neon"] = RATES["portable"] = RATES["avx2"]
