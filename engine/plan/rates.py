"""The rates of the cost model, in nanoseconds per unit of each feature of `engine.plan.estimate`.

Fitted by non-negative least squares of relative errors to single-thread times of every op of the reports' networks at
batch 1, 16 and 64: `python -m experiments.checks.algorithms --fit`, on a 3.9 GHz Zen 5 (FMA peak 250 GFLOP/s with
AVX-512, 127 with AVX2). The algorithms that they choose lose more than 10 % of the time in 25 of 411 cases with AVX-512
and in 14 with AVX2. "neon" and "portable" were not measured: they have AVX2's rates for their own register tiles.
"""

TILES = {"avx512": (14, 32, 16), "avx2": (6, 16, 8), "neon": (6, 16, 4), "portable": (2, 16, 4)}
"""Instruction set → rows and columns of the largest register tile, and floats of a vector."""

RATES: dict[str, dict[str, tuple[float, ...]]] = {
    "avx512": {
        "direct.forward": (0.2624, 0.0, 0.02905, 0.002872, 0.01389, 0.0),
        "direct.backward_data": (0.2886, 51.51, 0.0, 0.05231, 0.3107, 0.0),
        "direct.backward_weights": (0.3212, 44.46, 0.009906, 0.0, 0.05476, 0.0),
        "pick.backward_weights": (0.441, 0.3803, 0.0, 276.9),
        "direct.backward_data.pooled": (0.465, 0.0, 0.2286, 0.0, 0.2658, 0.1692, 829.4),
        "direct.backward_weights.pooled": (0.2727, 1.232, 0.0, 0.0, 0.1045, 0.1597, 1168.0),
        "winograd2x3.forward": (0.2589, 17.92, 0.1123, 0.08112, 0.0, 0.05692, 0.0, 0.0),
        "winograd2x3.backward_data": (0.281, 0.0, 0.04104, 0.1671, 0.0, 0.04609, 0.08531, 0.0),
        "winograd2x3.backward_weights": (0.2467, 0.0, 0.0, 0.1225, 0.1461, 0.0, 0.242, 0.0),
        "winograd2x3.backward_data.pooled": (0.2876, 16.64, 0.04174, 0.1755, 0.0, 0.02709, 0.1374, 0.0),
        "winograd2x3.backward_weights.pooled": (0.253, 9.612, 0.2201, 0.02002, 0.04914, 0.03506, 0.2515, 0.0),
        "winograd4x3.forward": (0.2612, 0.0, 0.1399, 0.1265, 0.0, 0.03362, 0.08172, 0.0),
        "winograd4x3.backward_data": (0.3332, 0.0, 0.04252, 0.1402, 0.0, 0.0155, 0.09697, 0.0),
        "winograd4x3.backward_weights": (0.2522, 0.0, 0.0, 0.1372, 0.1285, 0.0, 0.2176, 0.0),
        "winograd4x3.backward_data.pooled": (0.2853, 0.0, 0.05944, 0.2317, 0.0, 0.04063, 0.114, 0.0),
        "winograd4x3.backward_weights.pooled": (0.1941, 0.0, 0.2752, 0.02034, 0.1195, 0.0, 0.3463, 0.0),
        "winograd4x5.forward": (0.3843, 0.0, 0.07571, 0.1537, 0.0, 0.1128, 0.0, 87.63),
        "winograd4x5.backward_data": (0.473, 0.0, 0.0, 0.0, 0.0, 0.1099, 0.1981, 0.0),
        "winograd4x5.backward_weights": (0.519, 0.0, 0.0, 0.1945, 0.0, 0.0, 0.9475, 0.0),
        "winograd4x5.backward_data.pooled": (0.0, 0.0, 0.372, 0.0, 0.02281, 0.0, 0.0, 0.0),
        "winograd4x5.backward_weights.pooled": (0.0, 9.195, 0.2326, 0.0, 0.103, 0.0, 0.0, 0.0),
        "winograd_filter2x3": (0.0385, 0.09204, 0.08036, 31.25),
        "winograd_filter4x3": (0.04515, 0.2429, 0.06204, 12.06),
        "winograd_filter4x5": (0.03927, 0.3924, 0.1525, 55.69),
        "winograd_filter_backward2x3": (0.2716, 0.0, 0.5441, 0.0),
        "winograd_filter_backward4x3": (0.2861, 0.0, 0.3708, 0.0),
        "winograd_filter_backward4x5": (0.1049, 0.5286, 0.5184, 0.0),
        "linear_forward": (0.2735, 0.003766, 0.0006997, 35.41),
        "linear_backward_data": (0.2059, 0.1069, 0.03792, 295.4),
        "linear_backward_weights": (0.274, 0.02084, 0.01761, 177.7),
        "stream": (0.004885, 0.01942, 36.98),
        "update": (0.009748, 0.0),
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
