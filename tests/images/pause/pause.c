/* The first process of every pod: holds the pod's namespaces, takes in orphaned processes, ends when told to. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
    sigset_t expected;
    int received = 0;

    sigemptyset(&expected);
    sigaddset(&expected, SIGCHLD);
    sigaddset(&expected, SIGINT);
    sigaddset(&expected, SIGTERM);
    sigprocmask(SIG_BLOCK, &expected, NULL);
    while (sigwait(&expected, &received) == 0) {
        if (received != SIGCHLD) {
            return 0;
        }
        while (waitpid(-1, NULL, WNOHANG) > 0) {
        }
    }
    return 1;
}
