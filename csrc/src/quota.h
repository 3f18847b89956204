/* The CPU time that control groups leave to this process. */
#ifndef CNN_QUOTA_H
#define CNN_QUOTA_H

/* CPUs that the tightest quota allows, of the process's own control group and of all above it, whether cgroup v2
 * (cpu.max) or v1 (cpu.cfs_quota_us); INFINITY where there is none. `root` is put before every path: "" but in tests. */
double cnn_quota_cpus(const char *root);

#endif
