#ifndef AGENT_ENVIRONMENT_H
#define AGENT_ENVIRONMENT_H

/* The value of *name* in a NULL-terminated environment, or NULL. */
const char *environment_get(char *const *environment, const char *name);

/* A NULL-terminated copy of *given* with PATH, HOME and HOSTNAME added where missing; NULL when
 * there is no memory.  Only the list and the strings added are new: *given* must outlive it. */
char **environment_complete(char *const *given, const char *home, const char *hostname);

/* Free what environment_complete made for *given*. */
void environment_free(char **environment, char *const *given);

/* A list of all variables of *over* and those of *base* that it does not have, or NULL when there
 * is no memory; the strings are not copied. */
char **environment_merge(char *const *base, char *const *over);

#endif
