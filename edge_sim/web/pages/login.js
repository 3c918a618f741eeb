// Sign in with an account of the device.

import { post } from "./api.js";
import { busy, field } from "./components.js";
import { fill, h } from "./dom.js";
import { t } from "./i18n.js";

export function loginPage({ main, done }) {
  const user = h("input", { name: "user", autocomplete: "username", required: true, autocapitalize: "none" });
  const password = h("input", { name: "password", type: "password", autocomplete: "current-password", required: true });
  const submit = h("button", { class: "primary" }, t("login.in"));
  const form = h(
    "form",
    {
      class: "login",
      onsubmit: async (event) => {
        event.preventDefault();
        const answer = await busy(submit, async () => (await post("api/login", { user: user.value, password: password.value })) ?? {});
        if (answer !== null) await done();
        else password.select();
      },
    },
    h("h1", {}, t("login.title")),
    field(t("login.user"), user),
    field(t("login.password"), password),
    h("p", { class: "actions" }, submit),
    h("p", { class: "muted" }, t("login.hint")),
  );
  fill(main, form);
  user.focus();
}
