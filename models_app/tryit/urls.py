from __future__ import annotations

from django.contrib.auth.views import LogoutView
from django.urls import path

from models_app.login import PortalLogin, PortalPassword
from models_app.tryit import views

urlpatterns = [
    path("login/", PortalLogin.as_view(), name="login"),
    path("logout/", LogoutView.as_view(next_page="login"), name="logout"),
    path("password/", PortalPassword.as_view(), name="password"),
    path("try/", views.ListView.as_view(), name="try-list"),
    path("try/<slug:name>/", views.DetailView.as_view(), name="try"),
    path("try/<slug:name>/load/", views.LoadView.as_view(), name="try-load"),
]
