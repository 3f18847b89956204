/* CPU quotas. A group's quota binds all groups below it, so that the own one alone says little: systemd's CPUQuota on a
 * slice stands above the service's group. /proc/self/mountinfo tells where a hierarchy is mounted and which of its groups
 * is the root of that mount (in a container often not the topmost), /proc/self/cgroup which group is ours. */
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quota.h"

enum { ROOM = 4096 }; /* of a path, and of a line */

/* Formats a path; false where it is too long to be one. */
__attribute__((format(printf, 2, 3))) static bool path_of(char path[ROOM], const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(path, ROOM, format, arguments);
    va_end(arguments);
    return length >= 0 && length < ROOM;
}

/* Whether `word` is one of a list with commas between, as "cpu" in "cpu,cpuacct". */
static bool among(const char *list, const char *word)
{
    const size_t length = strlen(word);
    for (const char *at = list; at; at = strchr(at, ',')) {
        if (*at == ',') at++;
        if (strncmp(at, word, length) == 0 && (at[length] == ',' || at[length] == '\0')) return true;
    }
    return false;
}

/* The first number in a file, -1 where there is none. */
static double number_in(const char *path)
{
    double value = -1.0;
    FILE *file = fopen(path, "r");
    if (!file) return value;
    if (fscanf(file, "%lf", &value) != 1) value = -1.0;
    fclose(file);
    return value;
}

/* CPUs that the group in this folder may use, regardless of the groups above. */
static double group_cpus(const char *folder, bool unified)
{
    char path[ROOM];
    double quota = -1.0, period = -1.0;
    if (unified) { /* "max 100000" or "150000 100000" */
        FILE *file = path_of(path, "%s/cpu.max", folder) ? fopen(path, "r") : NULL;
        if (!file) return INFINITY;
        if (fscanf(file, "%lf %lf", &quota, &period) != 2) quota = -1.0;
        fclose(file);
    } else {
        if (path_of(path, "%s/cpu.cfs_quota_us", folder)) quota = number_in(path);
        if (path_of(path, "%s/cpu.cfs_period_us", folder)) period = number_in(path);
    }
    return quota > 0.0 && period > 0.0 ? quota / period : INFINITY;
}

/* Our group in the hierarchy, as a path from its topmost group: "0::/a/b" (v2) or "4:cpu,cpuacct:/a/b" (v1). */
static bool own_group(const char *root, bool unified, char group[ROOM])
{
    char line[ROOM];
    bool found = false;
    FILE *file = path_of(line, "%s/proc/self/cgroup", root) ? fopen(line, "r") : NULL;
    while (file && !found && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path) continue;
        *path++ = '\0';
        found = unified ? controllers[1] == '\0' : among(controllers + 1, "cpu");
        if (found) found = path_of(group, "%s", path);
    }
    if (file) fclose(file);
    return found;
}

/* The tightest quota from the group down to the root of its mount. `top`: that group's path in the hierarchy. */
static double mounted_cpus(const char *root, const char *mount, const char *top, bool unified)
{
    char group[ROOM], folder[ROOM];
    if (!own_group(root, unified, group)) return INFINITY;
    const size_t skipped = strcmp(top, "/") == 0 ? 0 : strlen(top);
    if (strncmp(group, top, skipped) != 0 || (group[skipped] != '/' && group[skipped] != '\0')) return INFINITY;
    const char *below = strcmp(group + skipped, "/") == 0 ? "" : group + skipped;
    if (!path_of(folder, "%s%s%s", root, mount, below)) return INFINITY;
    const size_t shortest = strlen(root) + strlen(mount);
    double cpus = group_cpus(folder, unified);
    while (strlen(folder) > shortest) {
        *strrchr(folder, '/') = '\0';
        cpus = fmin(cpus, group_cpus(folder, unified));
    }
    return cpus;
}

double cnn_quota_cpus(const char *root)
{
    char line[ROOM], top[ROOM], mount[ROOM], type[64], options[ROOM];
    double cpus = INFINITY;
    FILE *file = path_of(line, "%s/proc/self/mountinfo", root) ? fopen(line, "r") : NULL;
    while (file && fgets(line, sizeof line, file)) { /* "36 35 0:41 /top /mount options - type source options" */
        const char *rest = strstr(line, " - ");
        if (!rest || sscanf(line, "%*s %*s %*s %4095s %4095s", top, mount) != 2) continue;
        if (sscanf(rest, " - %63s %*s %4095s", type, options) != 2) continue;
        const bool unified = strcmp(type, "cgroup2") == 0;
        if (!unified && (strcmp(type, "cgroup") != 0 || !among(options, "cpu"))) continue;
        cpus = fmin(cpus, mounted_cpus(root, mount, top, unified));
    }
    if (file) fclose(file);
    return cpus;
}
