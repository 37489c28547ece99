() => {
  // A page whose address names a teacher begins in the Teach tab.
  const tab = document.querySelector("#desk-tabs [data-tab-id=teach]");
  if (tab && /[?&]teach=/.test(location.search)) tab.click();
}
