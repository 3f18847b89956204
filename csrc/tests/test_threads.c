/* What limits the team: quotas of control groups, in trees of files made for the purpose. */
#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "quota.h"
#include "test.h"

static char root[64];

/* Writes root/name, with the folders above it. */
static void put(const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", root, name);
    for (char *slash = path + strlen(root) + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = '\0';
        mkdir(path, 0700);
    }
    FILE *file = fopen(path, "w");
    if (!test_expect(file != NULL, "cannot write %s", path)) return;
    fputs(text, file);
    fclose(file);
}

static void begin(const char *name)
{
    test_begin("quota: %s", name);
    strcpy(root, "/tmp/cnn-quota-XXXXXX");
    test_expect(mkdtemp(root) != NULL, "no temporary folder");
}

static void end(double wanted)
{
    const double found = cnn_quota_cpus(root);
    test_expect(found == wanted, "%g CPUs instead of %g", found, wanted);
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", root);
    test_expect(system(command) == 0, "cannot remove %s", root);
    test_end();
}

#define UNIFIED "30 20 0:25 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
#define MAX "sys/fs/cgroup/"

static void unified(void)
{
    begin("v2, in the own group");
    put("proc/self/mountinfo", "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n" UNIFIED);
    put("proc/self/cgroup", "0::/user.slice/run.scope\n");
    put(MAX "user.slice/cpu.max", "max 100000\n");
    put(MAX "user.slice/run.scope/cpu.max", "150000 100000\n");
    end(1.5);

    begin("v2, two groups above");
    put("proc/self/mountinfo", UNIFIED);
    put("proc/self/cgroup", "0::/lab.slice/user.slice/run.scope\n");
    put(MAX "lab.slice/cpu.max", "200000 100000\n");
    put(MAX "lab.slice/user.slice/cpu.max", "max 100000\n");
    put(MAX "lab.slice/user.slice/run.scope/cpu.max", "400000 100000\n");
    end(2.0);

    begin("v2, of a neighbour");
    put("proc/self/mountinfo", UNIFIED);
    put("proc/self/cgroup", "0::/mine\n");
    put(MAX "mine/cpu.max", "max 100000\n");
    put(MAX "mine-too/cpu.max", "10000 100000\n");
    end(INFINITY);

    begin("v2, at the root of a container's own view");
    put("proc/self/mountinfo", UNIFIED);
    put("proc/self/cgroup", "0::/\n");
    put(MAX "cpu.max", "50000 100000\n");
    end(0.5);

    begin("v2, in a container that sees the machine's paths");
    put("proc/self/mountinfo", "30 20 0:25 /docker/4f /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
    put("proc/self/cgroup", "0::/docker/4f/inner\n");
    put(MAX "cpu.max", "300000 100000\n");
    put(MAX "inner/cpu.max", "max 100000\n");
    end(3.0);

    begin("v2, another group is mounted");
    put("proc/self/mountinfo", "30 20 0:25 /docker/4f /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
    put("proc/self/cgroup", "0::/docker/4f7\n");
    put(MAX "cpu.max", "300000 100000\n");
    end(INFINITY);
}

#define V1 "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
#define V1_SET "34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n"
#define CFS "sys/fs/cgroup/cpu,cpuacct/"

static void version_1(void)
{
    begin("v1, in a group above");
    put("proc/self/mountinfo", V1_SET V1);
    put("proc/self/cgroup", "9:name=systemd:/x\n5:cpuset:/x\n4:cpu,cpuacct:/lab/user\n0::/x\n");
    put(CFS "cpu.cfs_quota_us", "-1\n");
    put(CFS "cpu.cfs_period_us", "100000\n");
    put(CFS "lab/cpu.cfs_quota_us", "250000\n");
    put(CFS "lab/cpu.cfs_period_us", "100000\n");
    put(CFS "lab/user/cpu.cfs_quota_us", "-1\n");
    put(CFS "lab/user/cpu.cfs_period_us", "100000\n");
    end(2.5);

    begin("v1, none");
    put("proc/self/mountinfo", V1_SET V1);
    put("proc/self/cgroup", "4:cpu,cpuacct:/\n");
    put(CFS "cpu.cfs_quota_us", "-1\n");
    put(CFS "cpu.cfs_period_us", "100000\n");
    end(INFINITY);

    begin("no control groups");
    end(INFINITY);
}

void suite_threads(void)
{
    unified();
    version_1();
}
