/*
 * orderd: a program that embeds CPython under a name of its own.
 *
 *     orderd SCRIPT [ARGS...]      by PyRun_SimpleFile
 *     orderd -c CODE [ARGS...]     by PyRun_SimpleString
 *
 * The process has no "python" in its name or arguments, its `main` is not
 * Python's, and what runs Python is a thread of C named "order-runner" below
 * two functions of C, `orderd_dispatch` and `orderd_run`.
 *
 * For CPython 2.7 and 3.6 to 3.15; `build` compiles it.
 */
#include <Python.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

struct job {
    const char *code;
    const char *path;
    int failed;
};

/* Sets up the interpreter with sys.argv = argv. */
#if PY_VERSION_HEX >= 0x03080000
static int start(int argc, char **argv)
{
    PyConfig config;
    PyStatus status;

    PyConfig_InitPythonConfig(&config);
    config.parse_argv = 0;
    status = PyConfig_SetBytesString(&config, &config.program_name, "orderd");
    if (!PyStatus_Exception(status))
        status = PyConfig_SetBytesArgv(&config, argc, argv);
    if (!PyStatus_Exception(status))
        status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    if (PyStatus_Exception(status)) {
        fprintf(stderr, "orderd: %s\n", status.err_msg ? status.err_msg : "?");
        return 1;
    }
    return 0;
}
#elif PY_MAJOR_VERSION >= 3
static int start(int argc, char **argv)
{
    wchar_t *wide[64];
    int i;

    if (argc > 64)
        argc = 64;
    for (i = 0; i < argc; i++)
        wide[i] = Py_DecodeLocale(argv[i], NULL);
    Py_SetProgramName(L"orderd");
    Py_Initialize();
    PySys_SetArgvEx(argc, wide, 0);
    return 0;
}
#else
static int start(int argc, char **argv)
{
    static char name[] = "orderd";

    Py_SetProgramName(name);
    Py_Initialize();
    PySys_SetArgvEx(argc, argv, 0);
    return 0;
}
#endif

__attribute__((noinline)) static int orderd_run(const struct job *job)
{
    FILE *script;
    int failed;

    if (job->code)
        return PyRun_SimpleString(job->code);
    script = fopen(job->path, "rb");
    if (!script) {
        perror(job->path);
        return 1;
    }
    failed = PyRun_SimpleFile(script, job->path);
    fclose(script);
    return failed;
}

__attribute__((noinline)) static void *orderd_dispatch(void *argument)
{
    struct job *job = argument;
    PyGILState_STATE held = PyGILState_Ensure();

    job->failed = orderd_run(job);
    PyGILState_Release(held);
    return NULL;
}

int main(int argc, char **argv)
{
    struct job job = {NULL, NULL, 0};
    PyThreadState *main_thread;
    pthread_t runner;

    if (argc >= 3 && strcmp(argv[1], "-c") == 0) {
        job.code = argv[2];
    } else if (argc >= 2) {
        job.path = argv[1];
    } else {
        fprintf(stderr, "usage: orderd SCRIPT [ARGS...] | -c CODE [ARGS...]\n");
        return 2;
    }
    if (start(argc - 1, argv + 1))
        return 1;
    /* 3.6 and 2.7 make the GIL only when asked to. */
#if PY_VERSION_HEX < 0x03070000
    PyEval_InitThreads();
#endif
    /* Else it would take the other thread for the main one. */
    if (PyRun_SimpleString("import threading"))
        return 1;
    main_thread = PyEval_SaveThread();
    if (pthread_create(&runner, NULL, orderd_dispatch, &job)) {
        perror("orderd: pthread_create");
        return 1;
    }
    pthread_setname_np(runner, "order-runner");
    pthread_join(runner, NULL);
    PyEval_RestoreThread(main_thread);
    Py_Finalize();
    return job.failed != 0;
}
