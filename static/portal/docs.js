/* The page of the API: Swagger UI is dark below <html class="dark-mode">, when the rest of the page is, which the system or
   the admin's button says. */
"use strict";

(() => {
  const root = document.documentElement;
  const follow = () => {
    root.classList.remove("dark-mode"); // it sets the colour scheme that is asked for here
    root.classList.toggle("dark-mode", getComputedStyle(root).colorScheme === "dark");
  };
  new MutationObserver(follow).observe(root, { attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", follow);
  follow();
})();
