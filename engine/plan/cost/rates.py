"""The rates of the cost model, in nanoseconds per unit of each feature of `engine.plan.cost.estimate`.

Fitted by non-negative least squares of relative errors to single-thread times of every op of the reports' networks at
batch 1, 16 and 64: `python -m experiments.checks.algorithms --fit`. AVX-512's on a 3.9 GHz Zen 5 (FMA peak 250
GFLOP/s): the algorithms that they choose lose more than 10 % of the time in 11 of 409 cases. AVX2's on a Zen 4 without
AVX-512 (FMA peak about 110 GFLOP/s): in 16 of 411, 40 % at worst. "pick" looks pixels up in quads since then: AVX2's
was fitted again, alone (FMA peak 91 GFLOP/s); AVX-512's is that of the kernel before.
"neon" and "portable" were not measured: they have AVX2's rates for their own register tiles.
"""

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
        "function": (0.0, 0.006, 36.88),
        "update": (0.009035, 0.0),
    },
    "avx2": {
        "direct.forward": (0.3925, 0.0, 0.07619, 0.0, 0.01947, 0.0),
        "direct.backward_data": (0.4258, 0.0, 0.0006889, 0.08197, 0.1619, 0.0),
        "direct.backward_weights": (0.4792, 18.11, 0.01692, 0.0, 0.1625, 0.0),
        "pick.backward_weights": (0.787, 3.763, 0.0, 812.9),
        "direct.backward_data.pooled": (1.151, 0.0, 0.0, 0.0, 0.6469, 0.8445, 2247.0),
        "direct.backward_weights.pooled": (0.7014, 0.0, 0.591, 0.0, 0.2137, 0.3827, 2121.0),
        "winograd2x3.forward": (0.3851, 6.085, 0.1769, 0.4201, 0.0, 0.1496, 0.0, 0.0),
        "winograd2x3.backward_data": (0.4142, 9.821, 0.2039, 0.1308, 0.0, 0.1417, 0.0, 0.0),
        "winograd2x3.backward_weights": (0.3883, 0.0, 0.3367, 0.1908, 0.268, 0.1256, 0.3511, 0.0),
        "winograd2x3.backward_data.pooled": (0.5127, 4.699, 0.2764, 0.0, 0.0, 0.04247, 0.07303, 0.0),
        "winograd2x3.backward_weights.pooled": (0.2824, 0.0, 0.4358, 0.1893, 0.7431, 0.0, 0.7738, 0.0),
        "winograd4x3.forward": (0.4023, 0.0, 0.1273, 0.5795, 0.0, 0.04173, 0.05836, 0.0),
        "winograd4x3.backward_data": (0.4352, 0.0, 0.2708, 0.2002, 0.0, 0.0, 0.1118, 0.0),
        "winograd4x3.backward_weights": (0.4091, 0.0, 0.0, 0.4489, 0.4106, 0.0, 1.018, 0.0),
        "winograd4x3.backward_data.pooled": (0.5402, 7.734, 0.2634, 0.0, 0.0, 0.02509, 0.01195, 0.0),
        "winograd4x3.backward_weights.pooled": (0.2847, 0.0, 0.7111, 0.2838, 0.4191, 0.0, 1.46, 0.0),
        "winograd4x5.forward": (0.5975, 15.24, 0.0, 0.5253, 0.0, 0.0, 0.02018, 0.0),
        "winograd4x5.backward_data": (0.6244, 0.0, 0.0, 0.005998, 0.0, 0.03042, 0.0, 0.0),
        "winograd4x5.backward_weights": (0.1535, 0.0, 2.09, 0.0, 0.341, 0.0, 0.7194, 0.0),
        "winograd4x5.backward_data.pooled": (1.172, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        "winograd4x5.backward_weights.pooled": (0.0, 26.17, 1.2, 0.0, 0.0, 0.0, 0.0, 0.0),
        "winograd_filter2x3": (0.1398, 0.2538, 0.1468, 10.84),
        "winograd_filter4x3": (0.1255, 0.4051, 0.1295, 0.0),
        "winograd_filter4x5": (0.1196, 0.569, 0.06664, 86.5),
        "winograd_filter_backward2x3": (0.7633, 0.0, 0.6077, 0.0),
        "winograd_filter_backward4x3": (0.6395, 0.0, 0.4472, 0.0),
        "winograd_filter_backward4x5": (0.41, 0.6591, 0.2694, 0.0),
        "linear_forward": (0.2871, 0.03756, 0.0, 62.83),
        "linear_backward_data": (0.1987, 0.3114, 0.08634, 1104.0),
        "linear_backward_weights": (0.358, 0.04083, 0.07652, 322.1),
        "stream": (0.01459, 0.02852, 56.04),
        "function": (0.0, 0.012, 56.04),
        "update": (0.01611, 0.0),
    },
}
"""Instruction set → kind of work → nanoseconds per unit of each feature."""

RATES["neon"] = RATES["portable"] = RATES["avx2"]
